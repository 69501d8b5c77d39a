#include "transports/socket_stream.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include <tulp/error.hpp>

#include "net/file_range.hpp"
#include "net/socket.hpp"
#include "transports/lingering.hpp"

namespace tulp::detail {

SocketStream::SocketStream(EventLoop& loop, UniqueFd socket, const Address& peer)
    : ByteStream(loop, watch_),
      watch_(socket.get(), FdWatch::Mode::once),
      socket_(std::move(socket)),
      is_tcp_(peer.family() == AF_INET || peer.family() == AF_INET6),
      is_unix_(peer.family() == AF_UNIX),
      peer_(peer) {
  loop.add_fd(watch_);
}

/// What may have come by now will still be reported.
void SocketStream::expect_to_be_spoken_to() noexcept {
  if (watch_.is_edge_triggered) watch_.would_block(Direction::read);
}

[[gnu::hot]] ByteStream::Result SocketStream::try_read(std::span<char> into) noexcept {
  was_read_ = true;
  if (is_unix_) return try_read_unix(into);
  const ssize_t got = retry_on_eintr([&] { return sys.recv(socket_.get(), into.data(), into.size(), 0); });
  if (got < 0) return fail("recv", Direction::read);
  if (got == 0) return end();
  const auto bytes = static_cast<std::size_t>(got);
  if (bytes < into.size() && is_tcp_) watch_.fell_short(Direction::read);
  return {Status::done, bytes};
}

/// What comes over a Unix socket may bring descriptors, which are not taken, and the kernel ends a read behind them, although
/// there may be more.  It says so in the flags that recvmsg(2) gives: Linux's, that is; others are asked again.
ByteStream::Result SocketStream::try_read_unix(std::span<char> into) noexcept {
  iovec view{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &view;
  message.msg_iovlen = 1;
  const ssize_t got = retry_on_eintr([&] { return sys.recvmsg(socket_.get(), &message, 0); });
  if (got < 0) return fail("recvmsg", Direction::read);
  if (got == 0) return end();
  const auto bytes = static_cast<std::size_t>(got);
#ifdef __linux__
  if (bytes < into.size() && (message.msg_flags & MSG_CTRUNC) == 0) watch_.fell_short(Direction::read);
#endif
  return {Status::done, bytes};
}

[[gnu::hot]] ByteStream::Result SocketStream::try_write(std::span<const iovec> views) noexcept {
  std::size_t size = 0;
  for (const iovec& view : views) size += view.iov_len;
  const ssize_t sent = send_views(socket_.get(), views);
  if (sent < 0) return fail("send", Direction::write);
  const auto bytes = static_cast<std::size_t>(sent);
  if (bytes < size && is_tcp_) watch_.fell_short(Direction::write);
  return {Status::done, bytes};
}

/// A short count says nothing of the socket: it may be the file that has ended.
std::optional<ByteStream::Result> SocketStream::try_sendfile(int file, off_t offset, std::size_t size) noexcept {
  const ssize_t sent = retry_on_eintr([&] { return sys.sendfile(socket_.get(), file, &offset, size); });
  if (sent > 0) return Result{Status::done, static_cast<std::size_t>(sent)};
  if (sent == 0) return Result{Status::end};
  if (is_refused_by_sendfile(errno)) return std::nullopt;
  return fail("sendfile", Direction::write);
}

ByteStream::Result SocketStream::end() noexcept {
  has_peer_ended_ = true;
  return {Status::end};
}

ByteStream::Result SocketStream::fail(const char* operation, Direction direction) noexcept {
  if (is_blocked(errno)) {
    watch_.would_block(direction);
    return {Status::would_block};
  }
  error_number_ = errno;
  failed_operation_ = operation;
  return {Status::failed};
}

std::exception_ptr SocketStream::error() const {
  return make_os_error(error_number_, std::string(failed_operation_) + ' ' + peer());
}

ByteStream::HangUp SocketStream::look_for_hang_up() noexcept {
  const std::optional<int> error = look_for_end(socket_.get());
  if (!error) return HangUp::none;
  error_number_ = *error != 0 ? *error : EPIPE;
  failed_operation_ = "connection to";
  return *error != 0 ? HangUp::error : HangUp::clean;
}

void SocketStream::write_eof() noexcept { sys.shutdown(socket_.get(), SHUT_WR); }

/// Only edges are told of while nobody waits for them.
bool SocketStream::may_have_unread() const noexcept {
  return !has_peer_ended_ && (!was_read_ || watch_.may_try(Direction::read) || !watch_.is_edge_triggered);
}

void SocketStream::close(Ending ending) noexcept {
  if (!socket_) return;
  const bool is_slow = ending == Ending::slow && !has_peer_ended_;
  const bool is_unread = (ending == Ending::orderly || ending == Ending::slow) && may_have_unread();
  const bool lingers = is_tcp_ && (is_slow || is_unread) && !loop().is_closed() && !loop().belongs_to_parent();
  watch_.is_closing = !lingers;
  loop().remove_fd(watch_);
  if (ending == Ending::reset) reset_on_close(socket_.get());
  if (lingers) loop().service<LingeringSockets>().close(std::move(socket_), is_slow);
  socket_.reset();
}

std::any SocketStream::get_extra_info(std::string_view key) const { return connection_info(fd(), peer_, key); }

}  // namespace tulp::detail
