#include "transports/datagram_channel.hpp"

#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>

#include <tulp/error.hpp>

#include "net/socket.hpp"

namespace tulp::detail {
namespace {

/// What fits into an Ethernet frame, and somewhat more.
constexpr unsigned small_bytes = 2048;

}  // namespace

DatagramChannel::DatagramChannel(EventLoop& loop, OpenedDatagramSocket socket)
    : loop_(loop),
      socket_(std::move(socket.socket)),
      watch_(fd(), FdWatch::Mode::once),
      peer_(socket.peer),
      is_connected_(peer_.family() != AF_UNSPEC),
      is_unix_(local_address(fd()).family() == AF_UNIX) {
  loop_.add_fd(watch_);
}

void DatagramChannel::close() noexcept {
  if (!socket_) return;
  for (const Direction direction : {Direction::read, Direction::write}) {
    Runnable* waiter = watch_.target(direction);
    watch_.disarm(loop_, direction);
    if (waiter != nullptr && !waiter->is_queued()) loop_.post(*waiter);
  }
  watch_.is_closing = true;
  loop_.remove_fd(watch_);
  socket_.reset();
}

// Receiving.

/// MSG_TRUNC asks for the true length of what does not fit.
int DatagramChannel::receive(std::span<mmsghdr> headers) noexcept {
  if (headers.size() > 1 && has_batches_) {
    const int count = retry_on_eintr(
        [&] { return sys.recvmmsg(fd(), headers.data(), static_cast<unsigned>(headers.size()), MSG_TRUNC, nullptr); });
    if (count >= 0 || errno != ENOSYS) return count;
    has_batches_ = false;
  }
  const ssize_t size = retry_on_eintr([&] { return sys.recvmsg(fd(), &headers[0].msg_hdr, MSG_TRUNC); });
  if (size < 0) return -1;
  headers[0].msg_len = static_cast<unsigned>(size);
  return 1;
}

/// A datagram says nothing of what is behind it; but recvmmsg stops early only because there is nothing more, or an
/// error, which has been reported to the watch as such.
DatagramChannel::Result DatagramChannel::try_receive(DatagramBatch& batch) noexcept {
  const std::span<mmsghdr> headers = batch.headers();
  const int count = receive(headers);
  if (count < 0) return fail(Direction::read);
  are_small_ = headers[static_cast<std::size_t>(count) - 1].msg_len <= small_bytes;
  if (headers.size() > 1 && has_batches_ && static_cast<std::size_t>(count) < headers.size())
    watch_.fell_short(Direction::read);
  return {Status::done, static_cast<std::size_t>(count)};
}

// Sending.

DatagramChannel::Result DatagramChannel::try_send(std::string_view data, const Address& to) noexcept {
  const bool has_address = to.family() != AF_UNSPEC;
  const ssize_t size = retry_on_eintr([&] {
    return sys.sendto(fd(), data.data(), data.size(), MSG_NOSIGNAL, has_address ? to.data() : nullptr,
                      has_address ? to.size() : 0);
  });
  return size < 0 ? fail(Direction::write) : sent(1);
}

int DatagramChannel::send(std::span<mmsghdr> headers) noexcept {
  if (headers.size() > 1 && has_batches_) {
    const int count = retry_on_eintr(
        [&] { return sys.sendmmsg(fd(), headers.data(), static_cast<unsigned>(headers.size()), MSG_NOSIGNAL); });
    if (count >= 0 || errno != ENOSYS) return count;
    has_batches_ = false;
  }
  return retry_on_eintr([&] { return sys.sendmsg(fd(), &headers[0].msg_hdr, MSG_NOSIGNAL); }) < 0 ? -1 : 1;
}

DatagramChannel::Result DatagramChannel::try_send(SendBatch& batch) noexcept {
  const int count = send(batch.headers());
  return count < 0 ? fail(Direction::write) : sent(static_cast<std::size_t>(count));
}

DatagramChannel::Result DatagramChannel::sent(std::size_t count) noexcept {
  retry_pause_.reset();
  return {Status::done, count};
}

/// Two kinds of "later" are followed by no event: ENOBUFS, where a device's queue is full and the socket is not, and the
/// full queue of one of the many receivers that an unconnected Unix socket may have.
DatagramChannel::Result DatagramChannel::fail(Direction direction) noexcept {
  const int error = errno;
  const bool is_sending = direction == Direction::write;
  if (is_blocked(error)) {
    if (is_sending && is_unix_ && !is_connected_) return {Status::no_room};
    watch_.would_block(direction);
    return {Status::would_block};
  }
  if (is_sending && error == ENOBUFS) return {Status::no_room};
  return {Status::failed, 0, error};
}

void DatagramChannel::check_destination(const Address& to) const {
  const bool has_address = to.family() != AF_UNSPEC;
  if (!is_connected_ && !has_address)
    throw std::invalid_argument("sendto: an address is needed, because the socket is not connected");
  if (is_connected_ && has_address && to != peer_)
    throw std::invalid_argument("sendto " + to.to_string() + ": the socket is connected to " + peer_.to_string());
}

// What is said about it.

std::exception_ptr DatagramChannel::make_error(const char* operation, int error, const Address& address) const {
  const bool has_address = address.family() != AF_UNSPEC;
  return make_os_error(error, operation + (' ' + (has_address ? address.to_string() : peer())));
}

std::exception_ptr DatagramChannel::make_truncated_error(const DatagramBatch::Datagram& datagram) const {
  return make_os_error(EMSGSIZE, "recvfrom " + datagram.from.to_string() + ": a datagram of " +
                                     std::to_string(datagram.size_bytes) + " bytes, and room for " +
                                     std::to_string(datagram.data.size()));
}

std::string DatagramChannel::peer() const {
  return is_connected_ ? peer_.to_string() : "the peers of " + local_address(fd()).to_string();
}

std::any DatagramChannel::get_extra_info(std::string_view key) const {
  if (key == "peername") return is_connected_ ? std::any(peer_) : std::any();
  if (!socket_) return {};
  if (key == "socket") return fd();
  if (key == "sockname") return local_address(fd());
  if (key == "dropped_count") {
    std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
    socklen_t size = sizeof memory;
    if (sys.getsockopt(fd(), SOL_SOCKET, SO_MEMINFO, memory.data(), &size) == 0) return memory[SK_MEMINFO_DROPS];
  }
  return {};
}

}  // namespace tulp::detail
