#include <tulp/duration.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"

using namespace tulp;
using namespace std::chrono_literals;

namespace {
template <class Period>
using Seconds = std::chrono::duration<double, Period>;
constexpr auto highest = std::numeric_limits<std::int64_t>::max();
constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
}  // namespace

static_assert(Duration(3ms).nanoseconds() == 3'000'000);
static_assert(Duration(-3h).nanoseconds() == -3 * 3600 * std::int64_t{1'000'000'000});
static_assert(Duration(std::chrono::hours::max()) == Duration::max());
static_assert(Duration() == Duration::zero());
static_assert(Duration(1ns) < Duration(1us));

TEST_CASE("a Duration that does not fit saturates, and the longest one means never") {
  CHECK(Duration(std::chrono::hours::max()).is_never());
  CHECK(Duration(std::chrono::seconds::max()).is_never());
  CHECK(Duration(std::chrono::hours::min()).nanoseconds() == lowest);
  CHECK(Duration(std::chrono::nanoseconds::max()).is_never());
  CHECK(Duration(std::chrono::nanoseconds(highest - 1)).nanoseconds() == highest - 1);
  CHECK(Duration(std::chrono::duration<std::uint64_t>(~std::uint64_t{0})).is_never());
  CHECK(Duration(std::chrono::duration<std::int8_t, std::ratio<86400>>(127)).nanoseconds() ==
        127 * 86400 * 1'000'000'000LL);
  CHECK(Duration(std::chrono::seconds(highest / 1'000'000'000)).nanoseconds() ==
        highest / 1'000'000'000 * 1'000'000'000);
  CHECK(Duration(std::chrono::seconds(highest / 1'000'000'000 + 1)).is_never());
  CHECK(Duration(std::chrono::seconds(lowest / 1'000'000'000 - 1)).nanoseconds() == lowest);
}

TEST_CASE("a Duration of floating-point seconds takes infinities and refuses what is not a number") {
  CHECK(Duration(std::chrono::duration<double>(HUGE_VAL)).is_never());
  CHECK(Duration(std::chrono::duration<double>(-HUGE_VAL)).nanoseconds() == lowest);
  CHECK(Duration(std::chrono::duration<float>(1e30f)).is_never());
  CHECK(Duration(std::chrono::duration<double>(0.25)) == 250ms);
  CHECK(Duration(std::chrono::duration<double>(-0.25)) == -250ms);
  CHECK_THROWS_AS(Duration(std::chrono::duration<double>(std::nan(""))), std::invalid_argument);
  CHECK_THROWS_AS(Duration(std::chrono::duration<float>(std::nanf(""))), std::invalid_argument);
}

TEST_CASE("what is finer than a nanosecond is rounded up, so that no wait is shorter than asked") {
  CHECK(Duration(std::chrono::duration<std::int64_t, std::pico>(1)).nanoseconds() == 1);
  CHECK(Duration(std::chrono::duration<std::int64_t, std::pico>(1000)).nanoseconds() == 1);
  CHECK(Duration(std::chrono::duration<std::int64_t, std::pico>(1001)).nanoseconds() == 2);
  CHECK(Duration(Seconds<std::nano>(0.1)).nanoseconds() == 1);
  CHECK(Duration(Seconds<std::nano>(1.5)).nanoseconds() == 2);
}

TEST_CASE("a time after which a delay has passed saturates at both ends") {
  const TimePoint now{std::chrono::hours(1)};
  CHECK(after(now, 1s) == now + 1s);
  CHECK(after(now, -1s) == now - 1s);
  CHECK(after(now, Duration::max()) == TimePoint::max());
  CHECK(after(TimePoint::max(), 1ns) == TimePoint::max());
  CHECK(after(TimePoint::min(), -1ns) == TimePoint::min());
  CHECK(after(TimePoint::min(), Duration::max()) == TimePoint(std::chrono::nanoseconds(-1)));
}
