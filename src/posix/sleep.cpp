#include <tulp/posix.hpp>

#include <unistd.h>

#include <cerrno>

#include "base/sys.hpp"
#include "base/unique_fd.hpp"
#include "posix/blocking_call.hpp"
#include "posix/fd_park.hpp"
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

/// An end by exit or signal is heard of through a pidfd, for which one needs a number; all else is asked for.
pid_t waitpid_in(TaskControl& me, pid_t process, int* status, int options) {
  UniqueFd pidfd;
  const bool waits_for_end = (options & (WUNTRACED | WCONTINUED)) == 0;
  for (RetryPause pause;;) {
    const pid_t ended = retry_on_eintr([&] { return sys.waitpid(process, status, options | WNOHANG); });
    if (ended != 0) return ended;
    if (process > 0 && waits_for_end && !pidfd) pidfd = UniqueFd(sys.pidfd_open(process, 0));
    throw_if_cancelled();
    if (!pidfd) {
      pause.wait();
      continue;
    }
    FdPark park(me, "waitpid");
    park.add(pidfd.get(), FdWait::For::read);
    park.wait_until(TimePoint::max());
  }
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

pid_t posix::waitpid(pid_t process, int* status, int options) {
  const auto plain = [&] { return sys.waitpid(process, status, options); };
  if ((options & WNOHANG) != 0) return plain();
  return park_or_block("waitpid", plain,
                       [&](TaskControl& me) { return detail::waitpid_in(me, process, status, options); });
}

}  // namespace tulp
