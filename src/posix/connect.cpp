// connect(2) and accept(2): the socket is non-blocking for the moment of the call, which of an accept comes only when poll(2)
// has seen a connection.
#include <tulp/posix.hpp>

#include <pthread.h>

#include <cerrno>

#include "posix/blocking_call.hpp"
#include "posix/moment.hpp"

namespace tulp {
namespace detail {

ForkableMutex& moments() {
  static auto& mutex = [&]() -> ForkableMutex& {
    static auto& only = *new ForkableMutex;
    ::pthread_atfork([] { moments().lock(); }, [] { moments().unlock(); }, [] { moments().reset(); });
    return only;
  }();
  return mutex;
}

namespace {

/// Each time the kernel is asked again: it knows best how the attempt stands, and only so does the socket come to know
/// that it is connected.
int connect_in(TaskControl& me, int sock, const sockaddr* address, socklen_t size) {
  BlockingCall call(me, "connect", sock, Direction::write, SO_SNDTIMEO);
  for (bool has_begun = false;; has_begun = true) {
    const auto moment = while_non_blocking(sock, [&] { return sys.connect(sock, address, size); });
    if (moment.result == 0 || moment.is_non_blocking) return moment.result;
    if (has_begun && errno == EISCONN) return 0;
    if (errno == EINTR) continue;
    const bool is_queue_full = is_blocked(errno);  // of a Unix server
    if (!is_queue_full && errno != EINPROGRESS && errno != EALREADY) return -1;
    if (!has_begun) call.set_limit_error(errno);
    if (!(is_queue_full ? call.pause() : call.wait())) return -1;
  }
}

/// What does not listen is refused at once.
bool is_listening(int sock) noexcept {
  int listens = 0;
  socklen_t size = sizeof listens;
  return sys.getsockopt(sock, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

int accept_in(TaskControl& me, int sock, sockaddr* address, socklen_t* size, int flags) {
  BlockingCall call(me, "accept", sock, Direction::read, SO_RCVTIMEO);
  for (;;) {
    pollfd looked_at{sock, POLLIN, 0};
    if (sys.poll(&looked_at, 1, 0) == 0) {
      if (call.is_non_blocking() || !is_listening(sock)) return sys.accept4(sock, address, size, flags);
    } else {
      const auto moment = while_non_blocking(sock, [&] { return sys.accept4(sock, address, size, flags); });
      if (moment.result >= 0 || moment.is_non_blocking) return moment.result;
      if (errno == EINTR) continue;
      if (!is_blocked(errno)) return -1;
    }
    if (!call.wait()) return -1;
  }
}

}  // namespace
}  // namespace detail

int posix::connect(int sock, const sockaddr* address, socklen_t address_size) {
  return detail::park_or_block(
      "connect", [&] { return sys.connect(sock, address, address_size); },
      [&](detail::TaskControl& me) { return detail::connect_in(me, sock, address, address_size); });
}

int posix::accept(int sock, sockaddr* address, socklen_t* address_size) {
  return posix::accept4(sock, address, address_size, 0);
}

int posix::accept4(int sock, sockaddr* address, socklen_t* address_size, int flags) {
  const auto plain = [&] { return sys.accept4(sock, address, address_size, flags); };
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return plain();
  return detail::park_or_block("accept", plain, [&](detail::TaskControl& me) {
    return detail::accept_in(me, sock, address, address_size, flags);
  });
}

}  // namespace tulp
