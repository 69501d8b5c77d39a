// thread, jthread and this_thread: std's, as tasks.  Floor 6, sync.
//
// For programs that are ported from threads: replace std::thread by tulp::thread, std::mutex by tulp::mutex, and so on, and
// call main's body by run_main().  docs/porting.md goes through one; docs/decisions/0017-threads-as-tasks.md says what
// differs.
#pragma once
#include <tulp/detail/unique_function.hpp>
#include <tulp/duration.hpp>
#include <tulp/handle.hpp>
#include <tulp/task.hpp>

#include <chrono>
#include <compare>
#include <concepts>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {
class ThreadState;
}

/// As std::thread: a task of the loop that runs here, in which blocking calls park (see TaskOptions::blocking_calls).  Like a
/// thread it does not stop when its object is detached, but the end of run() cancels it, where a process would end.  An
/// exception that leaves its function ends the process, as with std::thread, after a report; CancelledError ends the thread.
/// Thread: starts on the loop's; the object may be moved to, joined and dropped by another one.
class thread {
 public:
  class id;

  thread() noexcept = default;
  /// Calls `f(args...)`, stored decayed, in a task.  Its first step is queued.
  /// Throws: InvalidStateError - no loop runs in this thread; OsError - no memory for a stack.
  template <class F, class... Args>
  requires(!std::same_as<std::decay_t<F>, thread> && !std::same_as<std::decay_t<F>, TaskOptions>)
      [[gnu::noinline]] explicit thread(F&& f, Args&&... args) {
    start({}, TULP_CALLER, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
  }
  /// With a name, or another size of the stack; its blocking calls park in any case.
  template <class F, class... Args>
  [[gnu::noinline]] thread(const TaskOptions& options, F&& f, Args&&... args) {
    start(options, TULP_CALLER, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
  }
  thread(thread&& other) noexcept = default;
  /// std::terminate() if it is joinable.
  thread& operator=(thread&& other) noexcept;
  /// std::terminate() if it is joinable; but while the cancellation of a task unwinds the stack, the thread is cancelled
  /// too, and joined.
  ~thread();

  bool joinable() const noexcept { return state_ != nullptr; }
  /// Parks: until the function has returned, and is gone; a thread without a loop blocks.  Cancel: it can be joined later.
  /// Throws: std::system_error - it is not joinable, or joins itself; InvalidStateError - a callback, a coroutine, or
  /// inside a no_park_scope.
  void join();
  /// Throws: std::system_error - it is not joinable.
  void detach();
  id get_id() const noexcept;
  void swap(thread& other) noexcept { state_.swap(other.state_); }
  friend void swap(thread& a, thread& b) noexcept { a.swap(b); }
  /// What std's says: a hint at how many loops, not how many of these, make sense.
  static unsigned hardware_concurrency() noexcept { return std::thread::hardware_concurrency(); }

 private:
  friend class jthread;
  void start(TaskOptions options, const void* caller, detail::UniqueFunction<void()> function);
  /// Joins, and is not interrupted; what runs is cancelled before that if a cancellation unwinds this stack.
  void join_at_end() noexcept;

  std::shared_ptr<detail::ThreadState> state_;
};

/// Names a task, or a thread that is none, among those that live.
class thread::id {
 public:
  id() noexcept = default;
  friend auto operator<=>(id, id) noexcept = default;
  friend std::ostream& operator<<(std::ostream& stream, id value);

  // For the library.
  id(std::uintptr_t place, std::uint64_t number) noexcept : place_(place), number_(number) {}
  std::size_t hash() const noexcept { return std::hash<std::uint64_t>()(place_ ^ (number_ << 1)); }

 private:
  std::uintptr_t place_ = 0;  // the loop, or the thread
  std::uint64_t number_ = 0;  // of the task, or 0
};

namespace this_thread {

/// Of the task, else the thread, that calls this.
thread::id get_id() noexcept;
/// Lets everything run that is ready, once; outside a task other threads.  Cancel: nothing has happened.
void yield();
/// Parks, in a task: until `span` has passed; elsewhere the thread sleeps.
void sleep_for(Duration span);
void sleep_until(TimePoint when);
template <class Clock, class Span>
void sleep_until(const std::chrono::time_point<Clock, Span>& when) {
  for (auto now = Clock::now(); now < when; now = Clock::now()) sleep_for(when - now);
}

}  // namespace this_thread

/// As std::jthread: joins in its destructor, after asking its function to stop.
class jthread {
 public:
  using id = thread::id;

  jthread() noexcept : stop_source_(std::nostopstate) {}
  /// `f` gets a std::stop_token first, if it takes one.
  template <class F, class... Args>
  requires(!std::same_as<std::decay_t<F>, jthread>) [[gnu::noinline]] explicit jthread(F&& f, Args&&... args) {
    if constexpr (std::is_invocable_v<std::decay_t<F>, std::stop_token, std::decay_t<Args>...>)
      thread_.start({}, TULP_CALLER,
                    detail::bind_once(std::forward<F>(f), stop_source_.get_token(), std::forward<Args>(args)...));
    else
      thread_.start({}, TULP_CALLER, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
  }
  jthread(jthread&&) noexcept = default;
  jthread& operator=(jthread&& other) noexcept {
    jthread(std::move(other)).swap(*this);
    return *this;
  }
  ~jthread() {
    if (!joinable()) return;
    request_stop();
    thread_.join_at_end();
  }

  bool joinable() const noexcept { return thread_.joinable(); }
  void join() { thread_.join(); }
  void detach() { thread_.detach(); }
  id get_id() const noexcept { return thread_.get_id(); }
  std::stop_source get_stop_source() noexcept { return stop_source_; }
  std::stop_token get_stop_token() const noexcept { return stop_source_.get_token(); }
  bool request_stop() noexcept { return stop_source_.request_stop(); }
  void swap(jthread& other) noexcept {
    std::swap(stop_source_, other.stop_source_);
    thread_.swap(other.thread_);
  }
  friend void swap(jthread& a, jthread& b) noexcept { a.swap(b); }
  static unsigned hardware_concurrency() noexcept { return thread::hardware_concurrency(); }

 private:
  std::stop_source stop_source_;
  thread thread_;
};

}  // namespace tulp

template <>
struct std::hash<tulp::thread::id> {
  std::size_t operator()(tulp::thread::id value) const noexcept { return value.hash(); }
};
