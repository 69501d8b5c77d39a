#include <tulp/posix.hpp>

#include <cerrno>

#include "base/sys.hpp"
#include "posix/blocking_call.hpp"
#include "posix/time.hpp"

namespace tulp {
namespace detail {
namespace {

/// How long until `time` by `clock`.
Duration time_until(clockid_t clock, const timespec& time) {
  timespec now{};
  ::clock_gettime(clock, &now);
  if (now.tv_sec > time.tv_sec) return Duration::zero();
  return to_duration(time.tv_sec - now.tv_sec, time.tv_nsec - now.tv_nsec);
}

}  // namespace
}  // namespace detail

using detail::park_or_block;
using detail::TaskControl;

unsigned posix::sleep(unsigned seconds) {
  const int slept = park_or_block(
      "sleep", [&] { return static_cast<int>(sys.sleep(seconds)); },
      [&](TaskControl&) { return tulp::sleep(std::chrono::seconds(seconds)), 0; });
  return static_cast<unsigned>(slept);
}

int posix::usleep(useconds_t microseconds) {
  const timespec delay{static_cast<time_t>(microseconds / 1'000'000),
                       static_cast<long>(microseconds % 1'000'000) * 1000};
  return posix::nanosleep(&delay, nullptr);
}

int posix::nanosleep(const timespec* delay, timespec* left) {
  const int error = posix::clock_nanosleep(CLOCK_MONOTONIC, 0, delay, left);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

/// It returns its error.
int posix::clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  const auto plain = [&] { return sys.clock_nanosleep(clock, flags, time, left); };
  const bool is_known = clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME;
  if (!is_known || (flags & ~TIMER_ABSTIME) != 0 || !detail::is_valid(*time)) return plain();
  const int result = park_or_block("sleep", plain, [&](TaskControl&) {
    const bool is_absolute = flags == TIMER_ABSTIME;
    tulp::sleep(is_absolute ? detail::time_until(clock, *time) : detail::to_duration(time->tv_sec, time->tv_nsec));
    return 0;
  });
  return result < 0 ? errno : result;
}

}  // namespace tulp
