#include "net/socket.hpp"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

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

UniqueFd make_stream_socket(int family, int proto) {
  UniqueFd socket(sys.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, proto));
  if (!socket) throw_os_error(errno, "socket");
  return socket;
}

void check_socket(int socket, int wanted, const char* kind) {
  int type = 0;
  socklen_t size = sizeof type;
  if (sys.getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    throw std::invalid_argument("descriptor " + std::to_string(socket) + ": " + std::strerror(errno));
  if (type != wanted) throw std::invalid_argument("descriptor " + std::to_string(socket) + " is not " + kind);
}

UniqueFd take_socket(int socket) noexcept {
  sys.fcntl(socket, F_SETFD, FD_CLOEXEC);
  sys.fcntl(socket, F_SETFL, sys.fcntl(socket, F_GETFL, 0) | O_NONBLOCK);
  return UniqueFd(socket);
}

void set_option(int socket, int level, int option, int value) noexcept {
  sys.setsockopt(socket, level, option, &value, sizeof value);
}

int get_option(int socket, int level, int option) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  return sys.getsockopt(socket, level, option, &value, &size) == 0 ? value : 0;
}

void reset_on_close(int socket) noexcept {
  const linger now{.l_onoff = 1, .l_linger = 0};
  sys.setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void bind_socket(int socket, const Address& address) {
  if (sys.bind(socket, address.data(), address.size()) != 0) throw_os_error(errno, "bind " + address.to_string());
}

bool is_of_one_connection(int accept_error) noexcept {
  switch (accept_error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT: return true;
    default: return false;
  }
}

int pending_error(int socket) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  return sys.getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

Address local_address(int socket) noexcept { return ask(socket, sys.getsockname); }
Address peer_address(int socket) noexcept { return ask(socket, sys.getpeername); }

std::optional<PeerCredentials> peer_credentials([[maybe_unused]] int socket) noexcept {
#ifdef SO_PEERCRED
  ucred peer{};
  socklen_t size = sizeof peer;
  if (sys.getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
    return PeerCredentials{peer.pid, peer.uid, peer.gid};
#endif
  return std::nullopt;
}

std::optional<int> look_for_end(int socket) noexcept {
  pollfd found{socket, 0, 0};  // hang-up and error need not be asked for
  if (retry_on_eintr([&] { return sys.poll(&found, 1, 0); }) <= 0) return std::nullopt;
  return pending_error(socket);
}

std::any connection_info(int socket, const Address& peer, std::string_view key) {
  if (key == "peername") return peer;
  if (socket < 0) return {};
  if (key == "socket") return socket;
  if (key == "sockname") return local_address(socket);
  if (key == "peercred" && peer.family() == AF_UNIX) {
    if (const auto credentials = peer_credentials(socket)) return *credentials;
  }
  return {};
}

}  // namespace tulp::detail
