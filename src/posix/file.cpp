// How does one try to read a pipe without waiting, and without O_NONBLOCK, which all who share it would see?  Linux has
// RWF_NOWAIT, for pipes since 6.5.  What does not know it - FIFOs, terminals, older kernels - is asked by poll(2) first; if
// another reader is faster in between, the call waits after all.
#include "posix/file.hpp"

#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <tulp/executor.hpp>

#include "base/sys.hpp"
#include "posix/blocking_call.hpp"

namespace tulp::detail {
namespace {

#ifdef RWF_NOWAIT
constexpr int no_wait = RWF_NOWAIT;
#else
constexpr int no_wait = 8;
#endif

bool is_unknown(int error) noexcept { return error == EOPNOTSUPP || error == ENOSYS; }

mode_t kind_of(int fd) noexcept {
  struct stat status {};
  return sys.fstat(fd, &status) == 0 ? status.st_mode & static_cast<mode_t>(S_IFMT) : 0;
}
/// What poll(2) takes for ready always.
bool is_storage(mode_t kind) noexcept { return S_ISREG(kind) || S_ISBLK(kind) || S_ISDIR(kind); }
/// Of what is not a socket.
bool is_terminal(int fd) noexcept {
  int queued_bytes = 0;
  return sys.ioctl(fd, TIOCOUTQ, &queued_bytes) == 0;
}

template <class Call>
ssize_t in_thread(Call call) {
  const auto [result, error] = to_thread([&] {
    const ssize_t returned = retry_on_eintr(call);
    return std::pair(returned, errno);
  });
  errno = error;
  return result;
}

/// Waits until poll(2) thinks that the call will not.
template <class Call>
ssize_t when_ready(BlockingCall& blocking, int fd, short event, Call call) {
  for (;;) {
    pollfd looked_at{fd, event, 0};
    if (blocking.is_non_blocking() || sys.poll(&looked_at, 1, 0) != 0) return retry_on_eintr(call);
    if (!blocking.wait()) return -1;
  }
}

ssize_t read_once(BlockingCall& call, int fd, const Views& views, mode_t& kind) {
  for (;;) {
    const ssize_t got = retry_on_eintr([&] { return sys.preadv2(fd, views.data(), views.count(), -1, no_wait); });
    if (got >= 0 || (!is_blocked(errno) && !is_unknown(errno))) return got;
    const bool is_asked_for = is_blocked(errno);
    if (kind == 0) kind = kind_of(fd);
    const auto read = [&] { return sys.readv(fd, views.data(), views.count()); };
    if (is_storage(kind)) return is_asked_for ? in_thread(read) : retry_on_eintr(read);
    if (!is_asked_for) return when_ready(call, fd, POLLIN, read);
    if (!call.wait()) return -1;
  }
}

/// As much as does not wait: of a FIFO that has room there is room for a page.
ssize_t write_untried(BlockingCall& call, int fd, const Views& views, mode_t kind) {
  const auto write = [&] { return sys.writev(fd, views.data(), views.count()); };
  if (is_storage(kind) || call.is_non_blocking()) return retry_on_eintr(write);
  if (S_ISCHR(kind) && is_terminal(fd)) return in_thread(write);
  if (!S_ISFIFO(kind) || views.size_bytes() <= PIPE_BUF) return when_ready(call, fd, POLLOUT, write);
  const iovec* first = views.data();
  while (first->iov_len == 0) ++first;
  return when_ready(call, fd, POLLOUT, [&] {
    return sys.write(fd, first->iov_base, std::min(first->iov_len, static_cast<std::size_t>(PIPE_BUF)));
  });
}

ssize_t write_once(BlockingCall& call, int fd, const Views& views) {
  for (;;) {
    const ssize_t put = retry_on_eintr([&] { return sys.pwritev2(fd, views.data(), views.count(), -1, no_wait); });
    if (put >= 0 || (!is_blocked(errno) && !is_unknown(errno))) return put;
    const bool is_asked_for = is_blocked(errno);
    const mode_t kind = kind_of(fd);
    if (!is_asked_for || is_storage(kind)) return write_untried(call, fd, views, kind);
    if (!call.wait()) return -1;
  }
}

}  // namespace

/// What is in memory of a file comes at once, and may be less than was asked for: then the rest follows.
ssize_t read_file(TaskControl& me, const char* function, int fd, Views views) {
  BlockingCall call(me, function, fd, Direction::read, SO_RCVTIMEO);
  const std::size_t size = views.size_bytes();
  mode_t kind = 0;
  for (std::size_t done = 0;;) {
    const ssize_t got = unless_begun(me, done > 0, [&] { return read_once(call, fd, views, kind); });
    if (got < 0) return done > 0 ? static_cast<ssize_t>(done) : -1;
    done += static_cast<std::size_t>(got);
    if (got == 0 || done == size) return static_cast<ssize_t>(done);
    if (kind == 0) kind = kind_of(fd);
    if (!is_storage(kind)) return static_cast<ssize_t>(done);
    views.advance(static_cast<std::size_t>(got));
  }
}

ssize_t write_file(TaskControl& me, const char* function, int fd, Views views) {
  BlockingCall call(me, function, fd, Direction::write, SO_SNDTIMEO);
  const std::size_t size = views.size_bytes();
  for (std::size_t done = 0;;) {
    const ssize_t put = unless_begun(me, done > 0, [&] { return write_once(call, fd, views); });
    if (put < 0) return done > 0 ? static_cast<ssize_t>(done) : -1;
    done += static_cast<std::size_t>(put);
    if (put == 0 || done == size) return static_cast<ssize_t>(done);
    views.advance(static_cast<std::size_t>(put));
    call.note_progress();
  }
}

}  // namespace tulp::detail
