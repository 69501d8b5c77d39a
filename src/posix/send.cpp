#include <tulp/posix.hpp>

#include <limits.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "posix/blocking_call.hpp"
#include "posix/file.hpp"
#include "posix/views.hpp"

namespace tulp {
namespace detail {
namespace {

/// Until all has been sent.  What breaks the connection in the middle is left for the next call, as the kernel does, and
/// so is SIGPIPE.  `attempt(done, flags)` tries to send what is left.
template <class Attempt>
ssize_t send_all(TaskControl& me, const char* function, int sock, std::size_t size, int flags, Attempt attempt) {
  BlockingCall call(me, function, sock, Direction::write, SO_SNDTIMEO);
  for (std::size_t done = 0;;) {
    const int flags_now = flags | MSG_DONTWAIT | (done > 0 ? MSG_NOSIGNAL : 0);
    const ssize_t sent = unless_begun(me, done > 0, [&] {
      return call_until_done(call, [&]() -> ssize_t {
        if (done > 0 && has_error(sock)) return errno = EPIPE, -1;
        return attempt(done, flags_now);
      });
    });
    if (sent < 0) return done > 0 ? static_cast<ssize_t>(done) : -1;
    done += static_cast<std::size_t>(sent);
    if (done >= size) return static_cast<ssize_t>(done);
    call.note_progress();
  }
}

/// What comes with the bytes goes with the first of them.
ssize_t send_message(TaskControl& me, const char* function, int sock, const msghdr& message, int flags) {
  Views views(message.msg_iov, message.msg_iovlen);
  std::size_t sent = 0;
  return send_all(me, function, sock, views.size_bytes(), flags, [&](std::size_t done, int flags_now) {
    if (done == 0) return sys.sendmsg(sock, &message, flags_now);
    if (done > sent) views.advance(done - sent);
    sent = done;
    msghdr rest{};
    rest.msg_iov = const_cast<iovec*>(views.data());
    rest.msg_iovlen = static_cast<decltype(rest.msg_iovlen)>(views.count());
    return sys.sendmsg(sock, &rest, flags_now);
  });
}

}  // namespace
}  // namespace detail

using detail::park_or_block;
using detail::TaskControl;
using detail::Views;

ssize_t posix::send(int sock, const void* data, size_t size, int flags) {
  return posix::sendto(sock, data, size, flags, nullptr, 0);
}

ssize_t posix::sendto(int sock, const void* data, size_t size, int flags, const sockaddr* address,
                      socklen_t address_size) {
  const auto plain = [&] { return sys.sendto(sock, data, size, flags, address, address_size); };
  if ((flags & MSG_DONTWAIT) != 0) return plain();
  return park_or_block("send", plain, [&](TaskControl& me) {
    return detail::send_all(me, "send", sock, size, flags, [&](std::size_t done, int flags_now) {
      const char* const at = static_cast<const char*>(data) + done;
      if (address == nullptr) return sys.send(sock, at, size - done, flags_now);
      return sys.sendto(sock, at, size - done, flags_now, address, address_size);
    });
  });
}

ssize_t posix::sendmsg(int sock, const msghdr* message, int flags) {
  const auto plain = [&] { return sys.sendmsg(sock, message, flags); };
  if ((flags & MSG_DONTWAIT) != 0) return plain();
  return park_or_block("sendmsg", plain,
                       [&](TaskControl& me) { return detail::send_message(me, "sendmsg", sock, *message, flags); });
}

int posix::sendmmsg(int sock, mmsghdr* messages, unsigned count, int flags) {
  const auto plain = [&] { return sys.sendmmsg(sock, messages, count, flags); };
  if ((flags & MSG_DONTWAIT) != 0 || count == 0) return plain();
  return park_or_block("sendmmsg", plain, [&](TaskControl& me) {
    int sent_count = 0;
    for (mmsghdr& message : std::span(messages, std::min<std::size_t>(count, IOV_MAX))) {
      const ssize_t sent = detail::unless_begun(
          me, sent_count > 0, [&] { return detail::send_message(me, "sendmmsg", sock, message.msg_hdr, flags); });
      if (sent < 0) return sent_count > 0 ? sent_count : -1;
      message.msg_len = static_cast<unsigned>(sent);
      ++sent_count;
    }
    return sent_count;
  });
}

ssize_t posix::write(int fd, const void* data, size_t size) {
  const auto plain = [&] { return sys.write(fd, data, size); };
  if (size == 0) return plain();
  return park_or_block("write", plain, [&](TaskControl& me) {
    const ssize_t sent = detail::send_all(me, "write", fd, size, 0, [&](std::size_t done, int flags) {
      return sys.send(fd, static_cast<const char*>(data) + done, size - done, flags);
    });
    if (sent >= 0 || errno != ENOTSOCK) return sent;
    const iovec view{const_cast<void*>(data), size};
    return detail::write_file(me, "write", fd, Views(&view, 1));
  });
}

ssize_t posix::writev(int fd, const iovec* views, int count) {
  const auto plain = [&] { return sys.writev(fd, views, count); };
  if (count <= 0 || count > IOV_MAX) return plain();
  return park_or_block("writev", plain, [&](TaskControl& me) {
    const Views from(views, static_cast<std::size_t>(count));
    if (from.size_bytes() == 0) return plain();
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(views);
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
    const ssize_t sent = detail::send_message(me, "writev", fd, message, 0);
    return sent >= 0 || errno != ENOTSOCK ? sent : detail::write_file(me, "writev", fd, from);
  });
}

}  // namespace tulp
