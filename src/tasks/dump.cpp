#include "tasks/dump.hpp"

#include <tulp/task.hpp>

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/code_address.hpp"
#include "base/log.hpp"
#include "base/sys.hpp"
#include "events/signal_handlers.hpp"

namespace tulp {
namespace detail {

std::string short_duration(Duration duration) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f s", duration.seconds());
  return text;
}

std::string describe_descriptor(int fd) {
  std::string text = "descriptor " + std::to_string(fd);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (sys.getpeername(fd, generic, &size) != 0 || (address.ss_family != AF_INET && address.ss_family != AF_INET6) ||
      sys.getnameinfo(generic, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return text;
  const bool has_colons = address.ss_family == AF_INET6;
  return text + " (" + (has_colons ? "[" : "") + host + (has_colons ? "]:" : ":") + port + ")";
}

namespace {

/// The task that `task` waits for, be it only that it lets go of something; or null.
const TaskControl* blocker_of(const TaskControl& task) {
  const Park* park = task.park();
  if (park == nullptr) return nullptr;
  if (const TaskControl* awaited = park->awaited_task()) return awaited;
  const std::uint64_t number = park->holder();
  const TaskControl* found = nullptr;
  task.loop().tasks().for_each([&](const TaskControl& other) {
    if (number != 0 && other.number() == number) found = &other;
  });
  return found;
}

/// "the lock 0x55d0, held by task 'b'"
std::string wish_of(const TaskControl& task) {
  const Park& park = *task.park();
  std::string text = park.description();
  if (park.holder() == 0) return text;
  const TaskControl* holder = blocker_of(task);
  if (holder == nullptr) return text + ", held by a task that has ended";
  return text + ", held by " + (holder == &task ? "itself" : holder->state().description());
}

std::string state_of(const TaskControl& task) {
  if (&task == running_task()) return "runs";
  if (!task.has_begun()) return "has not begun";
  return task.park() != nullptr ? "waits for " + wish_of(task) : "is ready to go on";
}

std::string describe_cycle(const TaskControl& first) {
  std::string text = first.state().description();
  const TaskControl* at = &first;
  do {
    const TaskControl* next = blocker_of(*at);
    // A task that is waited for is named by that already.
    text += std::string(at == &first ? " waits for " : ", which waits for ") + wish_of(*at);
    at = next;
  } while (at != &first);
  return text;
}

}  // namespace

std::string describe_task(const TaskControl& task) {
  const Duration age = std::max(Duration::zero(), Duration(task.loop().time() - task.created()));
  std::string text = task.state().description() + ", " + short_duration(age) + " old, " + state_of(task) + "\n";
  if (const void* place = task.state().created_at()) text += "  created at " + describe_code_address(place) + "\n";
  const CallStack stack = task.call_stack();
  if (stack.empty() && task.has_begun()) text += "  too little of its stack is left to look at it\n";
  return text + describe_call_stack("at", stack);
}

/// Each task waits for one other at most, so a walk from any task ends, or comes to one cycle.
std::string describe_cycles(EventLoop& loop) {
  std::vector<const TaskControl*> seen;
  std::string text;
  loop.tasks().for_each([&](const TaskControl& start) {
    std::vector<const TaskControl*> walk;
    const auto is_in = [](const auto& tasks, const TaskControl* task) {
      return std::find(tasks.begin(), tasks.end(), task) != tasks.end();
    };
    const TaskControl* at = &start;
    for (; at != nullptr && !is_in(seen, at) && !is_in(walk, at); at = blocker_of(*at)) walk.push_back(at);
    if (at != nullptr && is_in(walk, at)) text += "  " + describe_cycle(*at) + "\n";
    seen.insert(seen.end(), walk.begin(), walk.end());
  });
  return text;
}

std::string describe_tasks(EventLoop& loop) {
  std::size_t count = 0;
  std::string tasks;
  loop.tasks().for_each([&](const TaskControl& task) {
    ++count;
    tasks += describe_task(task);
  });
  const std::string cycles = describe_cycles(loop);
  return std::to_string(count) + (count == 1 ? " task\n" : " tasks\n") + tasks +
         (cycles.empty() ? "" : "these wait for each other, and can never go on:\n" + cycles);
}

void dump_tasks_on_signal(EventLoop& loop, int signal) {
  loop.service<SignalHandlers>().add(
      signal, nullptr, [&loop] { log("tulp: " + describe_tasks(loop)); }, SignalHandlers::Purpose::watching);
}

int dump_signal_from_environment() {
  const char* text = std::getenv("TULP_DUMP_SIGNAL");
  if (text == nullptr || *text == '\0') return 0;
  const char* end = text + std::strlen(text);
  int number = 0;
  if (std::from_chars(text, end, number).ptr == end && number > 0 && number < NSIG) return number;
  const char* name = std::strncmp(text, "SIG", 3) == 0 ? text + 3 : text;
  static constexpr std::pair<const char*, int> names[] = {{"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"QUIT", SIGQUIT},
                                                          {"HUP", SIGHUP},   {"TERM", SIGTERM}, {"INT", SIGINT}};
  for (const auto& [known, value] : names)
    if (std::strcmp(name, known) == 0) return value;
  throw std::invalid_argument(std::string("TULP_DUMP_SIGNAL: there is no signal '") + text + "'");
}

}  // namespace detail

void dump_tasks(std::ostream& stream) { stream << detail::describe_tasks(get_event_loop()); }

void dump_tasks_on_signal(int signal) { detail::dump_tasks_on_signal(get_event_loop(), signal); }

void detail::print_stack(const TaskControl& task, std::ostream& stream) { stream << describe_task(task); }

}  // namespace tulp
