#include <tulp/sendfile.hpp>
#include <tulp/sock.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <stdexcept>

#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>

#include "base/broken_pipe.hpp"
#include "base/sys.hpp"
#include "net/file_range.hpp"
#include "net/resolver.hpp"
#include "net/retry_pause.hpp"
#include "net/socket.hpp"
#include "tasks/fd.hpp"
#include "transports/open_transports.hpp"

namespace tulp {
namespace detail {
namespace {

/// At a time, from a file that the system cannot send by itself.
constexpr std::size_t copied_bytes = 256 * 1024;

std::string name(const char* function, int sock) {
  return std::string(function) + " of descriptor " + std::to_string(sock);
}

/// Calls until that is done, waiting in between; its result.
template <class Call>
auto transfer(int sock, Direction direction, const char* function, Call call) {
  begin_operation(require_task(function));
  for (;;) {
    const auto result = retry_on_eintr(call);
    if (result >= 0) return result;
    if (!is_blocked(errno)) throw_os_error(errno, name(function, sock));
    wait_until_ready(sock, direction, function);
  }
}

/// connect(2) and accept(2) have no flag as MSG_DONTWAIT is for the others.
void check_non_blocking(int sock, const char* function) {
  const int flags = sys.fcntl(sock, F_GETFL, 0);
  if (flags < 0) throw_os_error(errno, name(function, sock));
  if ((flags & O_NONBLOCK) == 0)
    throw std::invalid_argument(name(function, sock) + ": the socket is blocking; O_NONBLOCK has to be set");
}

/// Calls `receive` with memory for so many bytes, which others use as soon as this task parks; its result.
template <class Receive>
auto with_memory(std::size_t size, const char* function, Receive receive) {
  auto& transports = require_task(function).loop().service<OpenTransports>();
  if (size <= OpenTransports::read_buffer_bytes) return receive(transports.read_buffer().first(size));
  std::string memory(size, '\0');
  return receive(std::span<char>(memory));
}

std::size_t receive_into(int sock, std::span<char> buf, const char* function) {
  return static_cast<std::size_t>(
      transfer(sock, Direction::read, function, [&] { return sys.recv(sock, buf.data(), buf.size(), MSG_DONTWAIT); }));
}

ReceivedDatagram receive_from(int sock, std::span<char> buf, const char* function) {
  sockaddr_storage storage{};
  iovec view{buf.data(), buf.size()};
  msghdr message{};
  const ssize_t size = transfer(sock, Direction::read, function, [&] {
    message = {};
    message.msg_name = &storage;
    message.msg_namelen = sizeof storage;
    message.msg_iov = &view;
    message.msg_iovlen = 1;
    return sys.recvmsg(sock, &message, MSG_DONTWAIT);
  });
  return {.size = static_cast<std::size_t>(size),
          .address = Address(reinterpret_cast<const sockaddr*>(&storage), message.msg_namelen),
          .is_truncated = (message.msg_flags & MSG_TRUNC) != 0};
}

/// Begins to connect; whether the connection stands already.
bool begin_to_connect(int sock, const Address& address) {
  const bool is_unix = address.family() == AF_UNIX;
  for (RetryPause pause; sys.connect(sock, address.data(), address.size()) != 0; pause.wait()) {
    if (errno == EINPROGRESS || (errno == EINTR && !is_unix)) return false;
    // The queue of a Unix server is full: a blocking socket would wait here, but of room nobody is told.
    const bool is_queue_full = is_unix && (is_blocked(errno) || errno == EINTR);
    if (!is_queue_full) throw_os_error(errno, "connect " + address.to_string());
  }
  return true;
}

/// Reads and sends what is left of it; how much has been sent altogether.
std::uint64_t copy_file(int sock, FileRange& range) {
  const auto memory = std::make_unique_for_overwrite<char[]>(copied_bytes);
  while (!range.is_done()) {
    const std::string_view data = range.read({memory.get(), copied_bytes});
    sock_sendall(sock, data);
    range.advance(data.size());
    if (data.empty()) range.end();
  }
  return range.sent();
}

}  // namespace
}  // namespace detail

using detail::begin_to_connect;
using detail::check_non_blocking;
using detail::copy_file;
using detail::name;
using detail::peer_address;
using detail::pending_error;
using detail::receive_from;
using detail::receive_into;
using detail::require_task;
using detail::RetryPause;
using detail::transfer;
using detail::wait_until_ready;
using detail::with_memory;

std::string sock_recv(int sock, std::size_t nbytes) {
  return with_memory(nbytes, "sock_recv", [&](std::span<char> memory) {
    return std::string(memory.data(), receive_into(sock, memory, "sock_recv"));
  });
}

std::size_t sock_recv_into(int sock, std::span<char> buf) { return receive_into(sock, buf, "sock_recv_into"); }

Datagram sock_recvfrom(int sock, std::size_t bufsize) {
  return with_memory(bufsize, "sock_recvfrom", [&](std::span<char> memory) {
    const ReceivedDatagram received = receive_from(sock, memory, "sock_recvfrom");
    if (received.is_truncated)
      throw_os_error(EMSGSIZE, name("sock_recvfrom", sock) + ": a datagram from " + received.address.to_string() +
                                   " of more than " + std::to_string(bufsize) + " bytes");
    return Datagram{std::string(memory.data(), received.size), received.address};
  });
}

ReceivedDatagram sock_recvfrom_into(int sock, std::span<char> buf) {
  return receive_from(sock, buf, "sock_recvfrom_into");
}

void sock_sendall(int sock, std::string_view data) {
  require_task("sock_sendall");
  while (!data.empty()) {
    const ssize_t sent = transfer(sock, Direction::write, "sock_sendall", [&] {
      return sys.send(sock, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    });
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Two kinds of "later" are followed by no event: the full queue of a device, which is not the socket's, and that of one of
/// the receivers that an unconnected Unix socket has.
std::size_t sock_sendto(int sock, std::string_view data, const Address& address) {
  const bool has_address = address.family() != AF_UNSPEC;
  for (RetryPause pause;; pause.wait()) {
    bool has_no_room = false;
    const ssize_t sent = transfer(sock, Direction::write, "sock_sendto", [&] {
      const ssize_t result = sys.sendto(sock, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                                        has_address ? address.data() : nullptr, has_address ? address.size() : 0);
      has_no_room = result < 0 && (errno == ENOBUFS || (is_blocked(errno) && address.family() == AF_UNIX));
      return has_no_room ? 0 : result;
    });
    if (!has_no_room) return static_cast<std::size_t>(sent);
  }
}

/// Asks the kernel, for a report of readiness is a hint.
void sock_connect(int sock, const Address& address) {
  require_task("sock_connect");
  if (address.family() == AF_UNSPEC) throw std::invalid_argument("sock_connect: no address to connect to");
  check_non_blocking(sock, "sock_connect");
  if (begin_to_connect(sock, address)) return;
  for (;;) {
    wait_until_ready(sock, Direction::write, "sock_connect");
    if (peer_address(sock).family() != AF_UNSPEC) return;
    if (const int error = pending_error(sock); error != 0) throw_os_error(error, "connect " + address.to_string());
  }
}

void sock_connect(int sock, const std::string& host, std::uint16_t port) {
  require_task("sock_connect");
  const int family = detail::local_address(sock).family();
  sock_connect(sock, detail::resolve(host, port, {.family = family, .type = SOCK_STREAM}).front());
}

std::uint64_t sock_sendfile(int sock, int file, std::uint64_t offset, std::optional<std::uint64_t> count,
                            const SendfileOptions& options) {
  require_task("sock_sendfile");
  check_non_blocking(sock, "sock_sendfile");
  ignore_broken_pipes();
  detail::FileRange range(file, offset, count);
  while (!range.is_done()) {
    bool is_refused = false;
    const ssize_t sent = transfer(sock, Direction::write, "sock_sendfile", [&] {
      off_t position = range.position();
      const ssize_t result = sys.sendfile(sock, file, &position, range.next_chunk_bytes());
      is_refused = result < 0 && detail::is_refused_by_sendfile(errno) && options.fallback;
      return is_refused ? 0 : result;
    });
    if (is_refused) return copy_file(sock, range);
    range.advance(static_cast<std::size_t>(sent));
    if (sent == 0) range.end();
  }
  return range.sent();
}

AcceptedSocket sock_accept(int sock) {
  require_task("sock_accept");
  check_non_blocking(sock, "sock_accept");
  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  const int conn = transfer(sock, Direction::read, "sock_accept", [&] {
    for (;;) {
      size = sizeof storage;
      const int accepted = sys.accept4(sock, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
      // EOPNOTSUPP may also mean the socket itself, for ever
      if (accepted >= 0 || errno == EOPNOTSUPP || !detail::is_of_one_connection(errno)) return accepted;
    }
  });
  return {conn, Address(address, size)};
}

}  // namespace tulp
