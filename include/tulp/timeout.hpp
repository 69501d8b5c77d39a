// with_timeout and wait_for: an end to waiting.  Floor 5, tasks.
#pragma once
#include <tulp/task.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace tulp {

/// The time limit of a with_timeout(), in the hands of the function that it limits.
/// Source: asyncio.Timeout.
class Timeout {
 public:
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;

  /// When the time is over, on the loop's clock; none: never.
  std::optional<TimePoint> when() const noexcept { return when_; }
  /// The time is over then, or never; what has passed is over as soon as others have run.
  /// Throws: InvalidStateError - it is over already, or with_timeout() has returned.
  void reschedule(std::optional<TimePoint> when);
  /// The time is over `limit` from now.
  void reschedule(Duration limit);
  /// Whether the time is over, and the function was cancelled for that.
  bool expired() const noexcept { return is_expired_; }

 protected:
  explicit Timeout(std::optional<TimePoint> when);
  explicit Timeout(Duration limit);
  ~Timeout();

  /// In a handler of CancelledError: throws TimeoutError if the cancellation was this one's and no other is asked for.
  void throw_if_expired();

 private:
  void start_timer();
  void expire();
  void leave() noexcept;
  std::string limit_text() const;

  detail::TaskControl& task_;
  unsigned cancelling_at_entry_;
  TimePoint entered_at_;
  std::optional<TimePoint> when_;
  TimerHandle timer_;
  bool is_expired_ = false;
  bool has_left_ = false;
};

namespace detail {

class TimeoutScope final : public Timeout {
 public:
  explicit TimeoutScope(std::optional<TimePoint> when) : Timeout(when) {}
  explicit TimeoutScope(Duration limit) : Timeout(limit) {}
  using Timeout::throw_if_expired;
};

template <class F>
decltype(auto) call_with(Timeout& timeout, F& fn) {
  if constexpr (std::invocable<F&, Timeout&>)
    return call_to_the_end(fn, timeout);
  else
    return call_to_the_end(fn);
}

template <class Limit, class F>
auto run_with_timeout(Limit limit, F& fn) -> std::decay_t<decltype(call_with(std::declval<Timeout&>(), fn))> {
  TimeoutScope scope(limit);
  try {
    return call_with(scope, fn);
  } catch (const CancelledError&) {
    scope.throw_if_expired();
    throw;
  }
}

/// Parks: until `future` is done, and no longer than `limit`.  Throws: as wait_for(), but for what the future holds.
void wait_within(FutureState& future, Duration limit);

}  // namespace detail

/// Calls `fn()`, or `fn(timeout)` if it takes a Timeout&, which has to end within `limit`.  If it does not, it is cancelled
/// at its park.  Limits may be nested; each knows its own cancellation from others.  If `fn` returns a Future, as a coroutine
/// does, that is awaited within the limit.
/// Parks: as `fn` does.  A result that was obtained in time is returned, even if the limit passed meanwhile.
/// Cancel: as `fn`; a cancellation from outside stays one, also if the limit passes with it.
/// Throws: TimeoutError - the limit has passed; what `fn` throws; InvalidStateError - outside a task.
/// Source: asyncio.timeout.
template <class F>
auto with_timeout(Duration limit, F&& fn) {
  return detail::run_with_timeout(limit, fn);
}

/// The same until `deadline`, a time of the loop's clock.  Source: asyncio.timeout_at.
template <class F>
auto with_timeout(TimePoint deadline, F&& fn) {
  return detail::run_with_timeout(std::optional<TimePoint>(deadline), fn);
}

/// await() with a limit.  With one that is zero or negative a task that has not begun never does.
/// Parks: until the future is done; after the limit, until what it cancelled has ended.
/// Cancel: as await(); so what is waited for is cancelled at the limit too, unless somebody else waits for it: shield() it.
/// Throws: TimeoutError - the limit has passed, and it was cancelled, or left to others; if it has ended with a value or
/// another error nevertheless, that is what this returns or throws; as await().
/// Source: asyncio.wait_for.
template <class T>
T wait_for(Future<T> future, Duration limit) {
  auto& state = *future.state();
  detail::wait_within(state, limit);
  return state.get(state.is_unique());
}

}  // namespace tulp
