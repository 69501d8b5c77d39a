// Waiting with a limit.  Floor 5, tasks.
#pragma once
#include <tulp/task.hpp>

#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {
/// Cancels the task that makes it when the time is over, and tells that cancellation from others.
class TimeoutScope {
 public:
  explicit TimeoutScope(Duration limit);
  TimeoutScope(const TimeoutScope&) = delete;
  TimeoutScope& operator=(const TimeoutScope&) = delete;
  ~TimeoutScope();

  /// In a handler of CancelledError: throws TimeoutError if the cancellation was this scope's own and no other is asked for.
  void throw_if_expired();

 private:
  void expire();
  void leave() noexcept;

  TaskControl& task_;
  Duration limit_;
  unsigned cancelling_at_entry_;
  TimerHandle timer_;
  bool is_expired_ = false;
  bool has_left_ = false;
};
}  // namespace detail

/// Calls `fn()`, which has to end within `limit`.  If it does not, it is cancelled at its park.
/// Parks: as `fn` does.  A result that was obtained in time is returned, even if the limit passed meanwhile.
/// Throws: TimeoutError - the limit has passed; what `fn` throws; InvalidStateError - outside a task.
template <class F>
auto with_timeout(Duration limit, F&& fn) -> std::invoke_result_t<F&> {
  detail::TimeoutScope scope(limit);
  try {
    return fn();
  } catch (const CancelledError&) {
    scope.throw_if_expired();
    throw;
  }
}

}  // namespace tulp
