// Waiting for children.  An end by exit or signal is heard of through a pidfd, for which one needs a number; all else is
// asked for.
#include <tulp/posix.hpp>

#include <fcntl.h>

#include <cerrno>

#include "base/sys.hpp"
#include "base/unique_fd.hpp"
#include "posix/blocking_call.hpp"
#include "posix/fd_park.hpp"

namespace tulp {
namespace detail {
namespace {

void wait_for_end(TaskControl& me, int pidfd) {
  FdPark park(me, "waitpid");
  park.add(pidfd, FdWait::For::read);
  park.wait_until(TimePoint::max());
}

/// `ask()` looks whether there is something, and returns 0 if not.  `process` is 0 if it may be any, or may have stopped.
template <class Ask>
pid_t wait_in(TaskControl& me, pid_t process, Ask ask) {
  UniqueFd pidfd;
  for (RetryPause pause;;) {
    const pid_t ended = retry_on_eintr(ask);
    if (ended != 0) return ended;
    if (process > 0 && !pidfd) pidfd = UniqueFd(sys.pidfd_open(process, 0));
    throw_if_cancelled();
    if (pidfd)
      wait_for_end(me, pidfd.get());
    else
      pause.wait();
  }
}

pid_t wait4_in(TaskControl& me, pid_t process, int* status, int options, rusage* usage) {
  const bool waits_for_end = (options & (WUNTRACED | WCONTINUED)) == 0;
  return wait_in(me, waits_for_end ? process : 0, [&] { return sys.wait4(process, status, options | WNOHANG, usage); });
}

int waitid_in(TaskControl& me, idtype_t type, id_t id, siginfo_t* end, int options) {
  siginfo_t found{};
  const bool waits_for_end = (options & (WSTOPPED | WCONTINUED)) == 0;
  const pid_t process = type == P_PID && waits_for_end ? static_cast<pid_t>(id) : 0;
  const pid_t result = wait_in(
      me, process, [&]() -> pid_t { return sys.waitid(type, id, &found, options | WNOHANG) != 0 ? -1 : found.si_pid; });
  if (result < 0) return -1;
  if (end != nullptr) *end = found;
  return 0;
}

}  // namespace
}  // namespace detail

using detail::park_or_block;
using detail::TaskControl;

pid_t posix::waitpid(pid_t process, int* status, int options) {
  return posix::wait4(process, status, options, nullptr);
}

pid_t posix::wait3(int* status, int options, rusage* usage) { return posix::wait4(-1, status, options, usage); }

pid_t posix::wait4(pid_t process, int* status, int options, rusage* usage) {
  const auto plain = [&] { return sys.wait4(process, status, options, usage); };
  if ((options & WNOHANG) != 0) return plain();
  return park_or_block("waitpid", plain,
                       [&](TaskControl& me) { return detail::wait4_in(me, process, status, options, usage); });
}

/// A pidfd with O_NONBLOCK waits for nobody, as the kernel knows.
int posix::waitid(idtype_t type, id_t id, siginfo_t* end, int options) {
  const auto plain = [&] { return sys.waitid(type, id, end, options); };
  constexpr auto pidfd = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4
  const bool is_asked_not_to = type == pidfd && (sys.fcntl(static_cast<int>(id), F_GETFL, 0) & O_NONBLOCK) != 0;
  if ((options & WNOHANG) != 0 || is_asked_not_to) return plain();
  return park_or_block("waitpid", plain,
                       [&](TaskControl& me) { return detail::waitid_in(me, type, id, end, options); });
}

}  // namespace tulp
