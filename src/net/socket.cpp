#include "net/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include <tulp/error.hpp>

namespace tulp::detail {
namespace {

template <class Call>
Address ask(int socket, Call call) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  return call(socket, address, &size) == 0 ? Address(address, size) : Address();
}

}  // namespace

UniqueFd make_stream_socket(int family) {
  UniqueFd socket(sys.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) throw_os_error(errno, "socket");
  return socket;
}

void set_option(int socket, int level, int option, int value) noexcept {
  sys.setsockopt(socket, level, option, &value, sizeof value);
}

void set_no_delay(int socket) noexcept { set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1); }

void reset_on_close(int socket) noexcept {
  const linger now{.l_onoff = 1, .l_linger = 0};
  sys.setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void bind_socket(int socket, const Address& address) {
  if (sys.bind(socket, address.data(), address.size()) != 0) throw_os_error(errno, "bind " + address.to_string());
}

int pending_error(int socket) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  return sys.getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

Address local_address(int socket) noexcept { return ask(socket, sys.getsockname); }
Address peer_address(int socket) noexcept { return ask(socket, sys.getpeername); }

}  // namespace tulp::detail
