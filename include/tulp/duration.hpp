// Duration and TimePoint: how tulp counts time.  Floor 1, base.
#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>
#include <stdexcept>
#include <type_traits>

namespace tulp {

/// A point on the loop's monotonic clock; a step of the wall clock does not move it.
using TimePoint = std::chrono::steady_clock::time_point;

/// A span of time in whole nanoseconds that any std::chrono duration converts to.  What does not fit saturates, so
/// `std::chrono::hours::max()` is a legal delay, and Duration::max() means "never".
/// Throws: std::invalid_argument - a floating-point duration that is not a number.
class Duration {
 public:
  constexpr Duration() = default;

  template <class Rep, class Period>
  constexpr Duration(std::chrono::duration<Rep, Period> span) : nanoseconds_(saturate<Rep, Period>(span.count())) {}

  static constexpr Duration max() { return from_nanoseconds(std::numeric_limits<std::int64_t>::max()); }
  static constexpr Duration zero() { return {}; }

  constexpr bool is_never() const { return *this == max(); }
  constexpr std::int64_t nanoseconds() const { return nanoseconds_; }
  constexpr double seconds() const { return static_cast<double>(nanoseconds_) / 1e9; }
  constexpr operator std::chrono::nanoseconds() const { return std::chrono::nanoseconds(nanoseconds_); }

  friend constexpr auto operator<=>(Duration, Duration) = default;

 private:
  static constexpr Duration from_nanoseconds(std::int64_t count) {
    Duration span;
    span.nanoseconds_ = count;
    return span;
  }

  /// Multiplies first where that cannot overflow and rounds away from zero, so that no wait is shorter than asked.
  template <class Rep, class Period>
  static constexpr std::int64_t saturate(Rep count) {
    using Scale = std::ratio_divide<Period, std::nano>;
    constexpr auto highest = std::numeric_limits<std::int64_t>::max();
    constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
    if constexpr (std::is_floating_point_v<Rep>) {
      if (count != count) throw std::invalid_argument("tulp::Duration: not a number");
      const long double scaled = static_cast<long double>(count) * Scale::num / Scale::den;
      if (scaled >= static_cast<long double>(highest)) return highest;
      if (scaled <= static_cast<long double>(lowest)) return lowest;
      const auto whole = static_cast<std::int64_t>(scaled);
      return static_cast<long double>(whole) < scaled ? whole + 1 : whole;
    } else {
      if (count > 0 && static_cast<std::uintmax_t>(count) > static_cast<std::uintmax_t>(highest / Scale::num))
        return highest;
      if constexpr (std::is_signed_v<Rep>) {
        if (count < lowest / Scale::num) return lowest;
      }
      const auto scaled = static_cast<std::int64_t>(count) * Scale::num;
      return scaled / Scale::den + (scaled > 0 && scaled % Scale::den != 0 ? 1 : 0);
    }
  }

  std::int64_t nanoseconds_ = 0;
};

/// `start` + `delay`, saturating: a delay of Duration::max() gives TimePoint::max(), which never comes.
constexpr TimePoint after(TimePoint start, Duration delay) {
  const std::chrono::nanoseconds span = delay;
  if (span.count() > 0 && start > TimePoint::max() - span) return TimePoint::max();
  if (span.count() < 0 && start < TimePoint::min() - span) return TimePoint::min();
  return start + span;
}

}  // namespace tulp
