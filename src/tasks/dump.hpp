// What the tasks of a loop are at, in words.  Floor 5, tasks.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/event_loop.hpp>

#include <string>

namespace tulp::detail {

/// "1.205 s"
std::string short_duration(Duration duration);
/// "descriptor 7 (127.0.0.1:80)"
std::string describe_descriptor(int fd);

/// Several lines: name, state, age, what it waits for, where it was created, and its stack.
std::string describe_task(const TaskControl& task);
/// All tasks of `loop`, and the cycles of those that wait for each other.
std::string describe_tasks(EventLoop& loop);
/// The cycles alone, a line each.
std::string describe_cycles(EventLoop& loop);

/// Gives describe_tasks() to the log whenever `signal` has come.  It does not keep a loop from being stuck.
/// Throws: as EventLoop::add_signal_handler().
void dump_tasks_on_signal(EventLoop& loop, int signal);
/// The signal that the environment's TULP_DUMP_SIGNAL names, such as SIGUSR1, USR1 or 10; 0 if it is not set.
/// Throws: std::invalid_argument - it names none.
int dump_signal_from_environment();

}  // namespace tulp::detail
