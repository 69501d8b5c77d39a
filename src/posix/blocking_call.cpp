#include "posix/blocking_call.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "posix/fd_park.hpp"

namespace tulp::detail {

TaskControl* task_to_park(const char* function) {
  return running_task() != nullptr ? &require_task(function) : nullptr;
}

bool BlockingCall::is_non_blocking() noexcept {
  if (!is_non_blocking_) {
    const int flags = sys.fcntl(fd_, F_GETFL, 0);
    is_non_blocking_ = flags >= 0 && (flags & O_NONBLOCK) != 0;
  }
  return *is_non_blocking_;
}

void BlockingCall::start_limit() {
  timeval limit{};
  socklen_t size = sizeof limit;
  const bool has_limit =
      sys.getsockopt(fd_, SOL_SOCKET, limit_option_, &limit, &size) == 0 && (limit.tv_sec != 0 || limit.tv_usec != 0);
  end_ = TimePoint::max();
  if (has_limit)
    end_ = after(me_.loop().time(), std::chrono::seconds(limit.tv_sec) + std::chrono::microseconds(limit.tv_usec));
}

bool BlockingCall::may_wait() {
  if (is_non_blocking()) return errno = EAGAIN, false;
  if (is_late_) return errno = limit_error_, false;
  if (!end_) start_limit();
  throw_if_cancelled();
  return true;
}

/// A socket can be writable and yet refuse what it is given, when the room that is missing is its receiver's.
bool BlockingCall::wait() {
  constexpr int most_fruitless_waits = 3;
  if (direction_ == Direction::write && ++fruitless_waits_ > most_fruitless_waits) return pause();
  if (!may_wait()) return false;
  FdPark park(me_, function_);
  park.add(fd_, direction_ == Direction::read ? FdWait::For::read : FdWait::For::write);
  is_late_ = !park.wait_until(*end_);
  if (park.has_one_gone()) return errno = EBADF, false;
  return true;
}

bool BlockingCall::pause() {
  if (!may_wait()) return false;
  const TimePoint now = me_.loop().time();
  const TimePoint next = after(now, pause_.next());
  is_late_ = next >= *end_;
  sleep(std::min(next, *end_) - now);
  return true;
}

void BlockingCall::note_progress() {
  fruitless_waits_ = 0;
  pause_.reset();
  if (!end_ || *end_ == TimePoint::max()) return;
  int domain = 0;
  socklen_t size = sizeof domain;
  if (sys.getsockopt(fd_, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) return;
  is_late_ = false;
  end_.reset();
}

bool has_error(int sock) noexcept {
  pollfd looked_at{sock, 0, 0};
  return sys.poll(&looked_at, 1, 0) == 1 && (looked_at.revents & POLLERR) != 0;
}

bool is_broken(int sock) noexcept {
  pollfd looked_at{sock, 0, 0};
  int readable_bytes = 0;
  return sys.poll(&looked_at, 1, 0) == 1 && (looked_at.revents & POLLERR) != 0 &&
         sys.ioctl(sock, FIONREAD, &readable_bytes) == 0 && readable_bytes == 0;
}

}  // namespace tulp::detail
