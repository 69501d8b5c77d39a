#include <tulp/posix.hpp>

#include <limits.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "posix/blocking_call.hpp"
#include "posix/file.hpp"
#include "posix/time.hpp"
#include "posix/views.hpp"

namespace tulp {
namespace detail {
namespace {

/// These never wait.
bool never_waits(int flags) noexcept { return (flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB)) != 0; }

int option_of(int sock, int option) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  return sys.getsockopt(sock, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}
bool is_stream(int sock) noexcept { return option_of(sock, SO_TYPE) == SOCK_STREAM; }
/// Unix sockets give what there is to who peeks.
bool peeks_all(int sock) noexcept { return is_stream(sock) && option_of(sock, SO_DOMAIN) != AF_UNIX; }

/// Whether nothing more comes, or an error does.
bool has_ended(int sock) noexcept {
  pollfd looked_at{sock, POLLRDHUP, 0};
  return sys.poll(&looked_at, 1, 0) == 1;
}

/// With MSG_WAITALL: goes on until `size` bytes are there.  `attempt(done)` tries for what is missing.
template <class Attempt>
ssize_t receive_all(TaskControl& me, BlockingCall& call, int sock, std::size_t size, Attempt attempt) {
  for (std::size_t done = 0;;) {
    const ssize_t got = unless_begun(me, done > 0, [&] {
      return call_until_done(call, [&]() -> ssize_t { return done > 0 && is_broken(sock) ? 0 : attempt(done); });
    });
    if (got <= 0) return done > 0 ? static_cast<ssize_t>(done) : got;
    done += static_cast<std::size_t>(got);
    if (done >= size || !is_stream(sock)) return static_cast<ssize_t>(done);
  }
}

/// The same with MSG_PEEK, for which what is there already is no news.
template <class Attempt>
ssize_t peek_all(TaskControl& me, BlockingCall& call, int sock, std::size_t size, Attempt attempt) {
  for (;;) {
    const ssize_t got = call_until_done(call, [&] { return attempt(0); });
    if (got <= 0 || static_cast<std::size_t>(got) >= size || !peeks_all(sock) || has_ended(sock)) return got;
    if (unless_begun(me, true, [&]() -> ssize_t { return call.pause() ? 0 : -1; }) < 0) return got;
  }
}

template <class Attempt>
ssize_t receive(TaskControl& me, const char* function, int sock, std::size_t size, int flags, Attempt attempt) {
  BlockingCall call(me, function, sock, Direction::read, SO_RCVTIMEO);
  if ((flags & MSG_WAITALL) == 0) return call_until_done(call, [&] { return attempt(0); });
  if ((flags & MSG_PEEK) == 0) return receive_all(me, call, sock, size, attempt);
  return peek_all(me, call, sock, size, attempt);
}

ssize_t receive_message(TaskControl& me, const char* function, int sock, msghdr& message, int flags) {
  Views views(message.msg_iov, message.msg_iovlen);
  std::size_t received = 0;
  bool has_control = false;
  const auto attempt = [&](std::size_t done) -> ssize_t {
    if (done == 0) {
      const ssize_t got = sys.recvmsg(sock, &message, flags | MSG_DONTWAIT);
      has_control = got >= 0 && message.msg_controllen > 0;
      return got;
    }
    if (has_control) return 0;  // what comes with bytes says where they end
    views.advance(done - received);
    received = done;
    msghdr rest{};
    rest.msg_iov = const_cast<iovec*>(views.data());
    rest.msg_iovlen = static_cast<decltype(rest.msg_iovlen)>(views.count());
    return sys.recvmsg(sock, &rest, flags | MSG_DONTWAIT);
  };
  return receive(me, function, sock, (flags & MSG_WAITALL) != 0 ? views.size_bytes() : 0, flags, attempt);
}

/// As Linux's, the limit is looked at between two messages.  An error after some is left for the next call.
int receive_messages(TaskControl& me, int sock, std::span<mmsghdr> messages, int flags, timespec* timeout) {
  const bool waits_for_one = (flags & MSG_WAITFORONE) != 0;
  const Duration limit = timeout != nullptr ? to_duration(timeout->tv_sec, timeout->tv_nsec) : Duration::max();
  const TimePoint end = after(me.loop().time(), limit);
  int count = 0;
  for (mmsghdr& message : messages) {
    if (count > 0 && has_error(sock)) break;
    const int flags_now = (flags & ~MSG_WAITFORONE) | (count > 0 && waits_for_one ? MSG_DONTWAIT : 0);
    const ssize_t got = unless_begun(me, count > 0, [&] {
      if ((flags_now & MSG_DONTWAIT) != 0) return sys.recvmsg(sock, &message.msg_hdr, flags_now);
      return receive_message(me, "recvmmsg", sock, message.msg_hdr, flags_now);
    });
    if (got < 0) {
      if (count == 0) return -1;
      break;
    }
    message.msg_len = static_cast<unsigned>(got);
    ++count;
    if (timeout == nullptr) continue;
    const Duration left = std::max(Duration(end - me.loop().time()), Duration::zero());
    timeout->tv_sec = left.nanoseconds() / 1'000'000'000;
    timeout->tv_nsec = left.nanoseconds() % 1'000'000'000;
    if (left == Duration::zero()) break;
  }
  return count;
}

}  // namespace
}  // namespace detail

using detail::park_or_block;
using detail::TaskControl;
using detail::Views;

ssize_t posix::recv(int sock, void* buffer, size_t size, int flags) {
  return posix::recvfrom(sock, buffer, size, flags, nullptr, nullptr);
}

ssize_t posix::recvfrom(int sock, void* buffer, size_t size, int flags, sockaddr* address, socklen_t* address_size) {
  const auto plain = [&] { return sys.recvfrom(sock, buffer, size, flags, address, address_size); };
  if (detail::never_waits(flags)) return plain();
  return park_or_block("recv", plain, [&](TaskControl& me) {
    return detail::receive(me, "recv", sock, size, flags, [&](std::size_t done) {
      char* const at = static_cast<char*>(buffer) + done;
      if (address == nullptr || done > 0) return sys.recv(sock, at, size - done, flags | MSG_DONTWAIT);
      return sys.recvfrom(sock, at, size, flags | MSG_DONTWAIT, address, address_size);
    });
  });
}

ssize_t posix::recvmsg(int sock, msghdr* message, int flags) {
  const auto plain = [&] { return sys.recvmsg(sock, message, flags); };
  if (detail::never_waits(flags)) return plain();
  return park_or_block("recvmsg", plain,
                       [&](TaskControl& me) { return detail::receive_message(me, "recvmsg", sock, *message, flags); });
}

int posix::recvmmsg(int sock, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  const auto plain = [&] { return sys.recvmmsg(sock, messages, count, flags, timeout); };
  if (detail::never_waits(flags) || count == 0 || (timeout != nullptr && !detail::is_valid(*timeout))) return plain();
  return park_or_block("recvmmsg", plain, [&](TaskControl& me) {
    return detail::receive_messages(me, sock, {messages, std::min<std::size_t>(count, IOV_MAX)}, flags, timeout);
  });
}

ssize_t posix::read(int fd, void* buffer, size_t size) {
  const auto plain = [&] { return sys.read(fd, buffer, size); };
  if (size == 0) return plain();
  return park_or_block("read", plain, [&](TaskControl& me) {
    const ssize_t got =
        detail::receive(me, "read", fd, size, 0, [&](std::size_t) { return sys.recv(fd, buffer, size, MSG_DONTWAIT); });
    if (got >= 0 || errno != ENOTSOCK) return got;
    const iovec view{buffer, size};
    return detail::read_file(me, "read", fd, Views(&view, 1));
  });
}

ssize_t posix::readv(int fd, const iovec* views, int count) {
  const auto plain = [&] { return sys.readv(fd, views, count); };
  if (count <= 0 || count > IOV_MAX) return plain();
  return park_or_block("readv", plain, [&](TaskControl& me) {
    const Views into(views, static_cast<std::size_t>(count));
    if (into.size_bytes() == 0) return plain();
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(views);
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
    const ssize_t got = detail::receive_message(me, "readv", fd, message, 0);
    return got >= 0 || errno != ENOTSOCK ? got : detail::read_file(me, "readv", fd, into);
  });
}

}  // namespace tulp
