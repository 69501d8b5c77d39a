// run and run_main: a program's event loop from its beginning to its end.  Floor 7, loop.
#pragma once
#include <tulp/task.hpp>

#include <cstdio>
#include <memory>

namespace tulp {

struct RunOptions {
  /// Which loop to make.
  LoopOptions loop = {};
  /// How long, at the end, tasks that are left may take to end after their cancellation, and then open transports to
  /// send what they have accepted.
  Duration drain = std::chrono::seconds(5);
  /// Upon this signal the tasks, what they wait for and their stacks go to the log (see dump_tasks_on_signal); 0 is the one
  /// that the environment variable TULP_DUMP_SIGNAL names ("SIGUSR1"), if it is set.
  int dump_signal = 0;
};

namespace detail {

/// A loop from its making to its close.
class Runner {
 public:
  /// Throws: InvalidStateError - an event loop runs in this thread; std::invalid_argument - TULP_DUMP_SIGNAL names no
  /// signal.
  explicit Runner(const RunOptions& options);
  Runner(std::unique_ptr<EventLoop> loop, Duration drain, int dump_signal = 0);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();

  EventLoop& loop() noexcept { return *loop_; }
  /// Runs the loop until `main` is done, then shuts it down and closes it.
  void run(FutureState& main);

 private:
  std::unique_ptr<EventLoop> loop_;
  Duration drain_;
};

template <class F>
auto run_main_task(Runner& runner, const void* caller, F main) {
  auto task = start_task(runner.loop(), {.name = "main"}, caller, std::move(main));
  runner.run(*task.state());
  if constexpr (std::is_void_v<typename decltype(task)::value_type>) {
    task.result();
    return 0;
  } else {
    return task.result();
  }
}

/// Calls `main` and turns what it throws into a line on stderr and an exit code.
int exit_code_of(UniqueFunction<int()> main) noexcept;

}  // namespace detail

/// Runs `main` as a task on a new event loop, and returns its result, 0 if it has none, or throws what it threw.  Tasks
/// that are left when main has ended are cancelled and run to their end; transports send what they have accepted.
/// Throws: InvalidStateError - an event loop runs in this thread; FutureCancelledError - main was cancelled.
template <class F>
[[gnu::noinline]] auto run(F&& main, RunOptions options = {}) {
  const void* caller = TULP_CALLER;
  detail::Runner runner(options);
  return detail::run_main_task(runner, caller, std::decay_t<F>(std::forward<F>(main)));
}

/// As run(), for `int main()`: an error becomes one line on stderr and 1, Ctrl-C becomes 130.
template <class F>
int run_main(F&& main, RunOptions options = {}) {
  return detail::exit_code_of([&]() -> int { return static_cast<int>(run(std::forward<F>(main), options)); });
}

}  // namespace tulp
