// Task<T>: a function that runs on a fiber of its own; await, sleep, and running a program.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_state.hpp>
#include <tulp/duration.hpp>
#include <tulp/future.hpp>

#include <concepts>
#include <exception>
#include <iosfwd>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tulp {

namespace detail {
void print_stack(const TaskControl& task, std::ostream& stream);

/// What every handle to a task can do.
template <class Derived>
class TaskMembers {
 public:
  std::string name() const { return control().name(); }
  void set_name(std::string name) { control().set_name(std::move(name)); }
  /// How many cancellations have been asked for and not taken back.
  unsigned cancelling() const { return control().cancelling(); }
  /// Takes one request back; how many are left.  With the last one goes a cancellation that is not delivered yet.
  unsigned uncancel() { return control().uncancel(); }
  std::size_t stack_size_bytes() const { return control().stack_size_bytes(); }
  /// How much of its stack has been touched, in whole pages: an upper bound, since stacks are reused.  0 before the first
  /// step and after the end.
  std::size_t stack_high_water_bytes() const { return control().stack_high_water_bytes(); }
  /// What the task is at, as dump_tasks() tells it.  Not for a task that has ended.
  void print_stack(std::ostream& stream) const { detail::print_stack(control(), stream); }

 protected:
  /// Throws: InvalidStateError - a handle that was made without a task.
  TaskControl& control() const {
    const auto& state = static_cast<const Derived&>(*this).state();
    TaskControl* task = state ? state->task() : nullptr;
    if (task == nullptr) throw InvalidStateError("this handle names no task");
    return *task;
  }
};
}  // namespace detail

/// A Future whose result a function provides, running on a fiber.  The loop owns a running task: dropping the handle
/// detaches it, and its failure is still reported.
template <class T = void>
class Task : public Future<T>, public detail::TaskMembers<Task<T>> {
 public:
  using Future<T>::Future;
};

/// A task of any type: what can be said of it without its result.
class TaskHandle : public detail::TaskMembers<TaskHandle> {
 public:
  TaskHandle() = default;
  template <class T>
  TaskHandle(const Task<T>& task) : state_(task.state()) {}
  explicit TaskHandle(detail::Ref<detail::FutureState> state) noexcept : state_(std::move(state)) {}

  /// False for what current_task() returns outside a task.
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  bool done() const { return this->control().state().is_done(); }
  bool cancelled() const { return this->control().state().status() == detail::FutureState::Status::cancelled; }
  [[gnu::noinline]] bool cancel(std::string message = {}) {
    return this->control().state().cancel({std::move(message), TULP_CALLER});
  }
  friend bool operator==(const TaskHandle& a, const TaskHandle& b) noexcept { return a.state_.get() == b.state_.get(); }

  const detail::Ref<detail::FutureState>& state() const noexcept { return state_; }

 private:
  detail::Ref<detail::FutureState> state_;
};

/// The task that calls this; empty outside a task, and in callbacks.
TaskHandle current_task();
/// The tasks of this thread's loop that have not ended, in the order of their creation.
std::vector<TaskHandle> all_tasks();

/// Says of each task of this thread's loop: its name, what it waits for, its age, where it was created, and its stack, with
/// functions, files and lines where debug information is there; and which tasks wait for each other in a circle.  Slow.
/// Throws: InvalidStateError - there is no loop.  Source: asyncio's Task.print_stack and `python -m asyncio pstree`.
void dump_tasks(std::ostream& stream);
/// Whenever `signal` has come to the process, gives the same of this thread's loop to the log (see set_log_sink).  The loop
/// does it in its turn: one that is held up by a callback or task does so later.  run() does this for
/// RunOptions::dump_signal, and for the signal that the environment variable TULP_DUMP_SIGNAL names.
/// Throws: as EventLoop::add_signal_handler().
void dump_tasks_on_signal(int signal);

namespace detail {

/// What a task comes to whose function returns an R.  A Task is a handle to somebody else's, and passed on as it is.
template <class R>
struct TaskResult {
  using type = R;
};
template <class T>
struct TaskResult<Future<T>> {
  using type = T;
};
template <class F, class... Args>
using TaskResultOf = typename TaskResult<std::decay_t<std::invoke_result_t<F&, Args...>>>::type;
template <class F, class... Args>
inline constexpr bool returns_future =
    !std::is_same_v<TaskResultOf<F, Args...>, std::decay_t<std::invoke_result_t<F&, Args...>>>;

/// What `f(args...)` comes to: of a Future that it returns, as a coroutine does, what that comes to.
template <class F, class... Args>
decltype(auto) call_to_the_end(F& f, Args&&... args) {
  if constexpr (returns_future<F, Args...>)
    return await(std::invoke(f, std::forward<Args>(args)...));
  else
    return std::invoke(f, std::forward<Args>(args)...);
}

template <class F>
auto start_task(EventLoop& loop, const TaskOptions& options, const void* caller, F bound) {
  if constexpr (returns_future<F>) {
    auto to_the_end = [bound = std::move(bound)]() mutable { return call_to_the_end(bound); };
    return start_task(loop, options, caller, std::move(to_the_end));
  } else {
    using T = TaskResultOf<F>;
    loop.check_usable();
    auto state = Ref<FutureStateOf<T>>::adopt(new TaskState<T, F>(loop, options, caller, std::move(bound)));
    options.eager ? start_eagerly(*state->task()) : start(*state->task());
    return Task<T>(std::move(state));
  }
}

}  // namespace detail

/// Starts `f(args...)` as a task of this thread's loop.  Its first step is queued, never run inline.  Callable and
/// arguments are stored decayed; the arguments are moved into the call.  If `f` returns a Future (not a Task), as a coroutine
/// does, the task awaits that, and has its result.
/// Throws: OsError - no memory for a stack; InvalidStateError - there is no loop, or it is closed.
/// Source: PEP 3156 "Tasks".
template <class F, class... Args>
requires(!std::same_as<std::decay_t<F>, TaskOptions>) [[gnu::noinline]] auto create_task(F&& f, Args&&... args);
template <class F, class... Args>
[[gnu::noinline]] auto create_task(TaskOptions options, F&& f, Args&&... args);

/// A Future passes through unchanged; a callable becomes a task.  Source: asyncio.ensure_future.
template <class T>
Future<T> ensure_future(Future<T> future) {
  return future;
}
template <class T>
Task<T> ensure_future(Task<T> task) {
  return task;
}
template <class F>
requires std::invocable < std::decay_t<F>
& > [[gnu::noinline]] auto ensure_future(F&& f) {
  return detail::start_task(detail::loop_for_new_object(), {}, TULP_CALLER, std::decay_t<F>(std::forward<F>(f)));
}

/// Parks: until the future is done; returns at once if it is.  Any number of tasks may wait for one future.
/// The value: copied, or moved if `future` is the last reference or T can only be moved.
/// Cancel: what is waited for is cancelled too, unless somebody else waits for it.  If that is a task, this one stays
/// parked until it has ended.
/// Throws: what the future holds; FutureCancelledError - the future was cancelled by somebody else; InvalidStateError -
/// outside a task, the task itself, or a future of another loop.
template <class T>
T await(Future<T> future) {
  auto& state = *future.state();
  detail::wait_until_done(state);
  return state.get(state.is_unique());
}

/// Parks: until `delay` has passed, never shorter.  sleep(0s) lets everything run that is ready, once.
/// Cancel: the timer is gone.
void sleep(Duration delay);
/// POSIX's sleep() counts seconds; here a number without a unit does not compile.
void sleep(unsigned) = delete;
void sleep(int) = delete;

/// Defers cancellation of the task that it is made in: the request waits until the last shield is gone, and comes at the
/// park after that.  For cleanup that parks.
class CancelShield {
 public:
  CancelShield();
  CancelShield(const CancelShield&) = delete;
  CancelShield& operator=(const CancelShield&) = delete;
  ~CancelShield();

 private:
  detail::TaskControl& task_;
};

template <class F, class... Args>
requires(!std::same_as<std::decay_t<F>, TaskOptions>) auto create_task(F&& f, Args&&... args) {
  return detail::start_task(detail::loop_for_new_object(), {}, TULP_CALLER,
                            detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F, class... Args>
auto create_task(TaskOptions options, F&& f, Args&&... args) {
  return detail::start_task(detail::loop_for_new_object(), options, TULP_CALLER,
                            detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F>
requires std::invocable < std::decay_t<F>
& > auto EventLoop::run_until_complete(F&& main) {
  auto task = detail::start_task(*this, {}, TULP_CALLER, std::decay_t<F>(std::forward<F>(main)));
  return run_until_complete(Future(std::move(task)));
}

}  // namespace tulp
