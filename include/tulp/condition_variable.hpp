// condition_variable: std's, for tasks of any loop and for threads.  Floor 6, sync.
#pragma once
#include <tulp/mutex.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace tulp {

using std::cv_status;

/// As std::condition_variable, with a tulp::mutex.  Those who wait are woken in the order in which they came; nobody is
/// woken without a notification, which programs should not count on.  Has to outlive those who wait.
/// Thread: any; waiting, and notifying, are as free as locking the mutex is.
class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  void notify_one() noexcept { waiting_.wake_one(); }
  void notify_all() noexcept { waiting_.wake_all(); }

  /// Parks: until it is notified, and then until it has the mutex again; a thread without a loop blocks.
  /// Cancel: the mutex is locked again when CancelledError leaves this.  A cancellation that comes behind the notification
  /// waits for the next park, so that no notification is lost.
  /// Throws: InvalidStateError - `lock` has no mutex, or has not locked it; a callback or a coroutine, or inside a
  /// no_park_scope.
  void wait(std::unique_lock<mutex>& lock) { wait_or_leave(lock, Duration::max()); }
  template <class Predicate>
  void wait(std::unique_lock<mutex>& lock, Predicate predicate) {
    while (!predicate()) wait(lock);
  }

  // The same with a limit.

  cv_status wait_for(std::unique_lock<mutex>& lock, Duration limit) {
    return wait_or_leave(lock, limit) ? cv_status::no_timeout : cv_status::timeout;
  }
  template <class Predicate>
  bool wait_for(std::unique_lock<mutex>& lock, Duration limit, Predicate predicate) {
    return wait_until(lock, after(now(), limit), std::move(predicate));
  }
  cv_status wait_until(std::unique_lock<mutex>& lock, TimePoint when) {
    return wait_for(lock, when == TimePoint::max() ? Duration::max() : Duration(when - now()));
  }
  /// By another clock than the loop's.
  template <class Clock, class Span>
  cv_status wait_until(std::unique_lock<mutex>& lock, const std::chrono::time_point<Clock, Span>& when) {
    wait_for(lock, when - Clock::now());
    return Clock::now() < when ? cv_status::no_timeout : cv_status::timeout;
  }
  template <class Clock, class Span, class Predicate>
  bool wait_until(std::unique_lock<mutex>& lock, const std::chrono::time_point<Clock, Span>& when,
                  Predicate predicate) {
    while (!predicate())
      if (wait_until(lock, when) == cv_status::timeout) return predicate();
    return true;
  }

 private:
  /// By the clock of the loop that runs here; a test's may jump.
  static TimePoint now();
  bool wait_or_leave(std::unique_lock<mutex>& lock, Duration limit);

  detail::FlowQueue waiting_;
};

}  // namespace tulp
