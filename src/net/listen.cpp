#include "net/listen.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include <tulp/error.hpp>

#include "net/resolver.hpp"
#include "net/socket.hpp"

namespace tulp::detail {
namespace {

UniqueFd listen_on(const Address& address, const ServerOptions& options) {
  UniqueFd socket = make_stream_socket(address.family());
  if (options.reuse_address) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) set_option(socket.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.family() == AF_INET6) set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  bind_socket(socket.get(), address);
  if (sys.listen(socket.get(), options.backlog) != 0) throw_os_error(errno, "listen " + address.to_string());
  return socket;
}

/// The same address with another port.
Address with_port(const Address& address, std::uint16_t port) {
  return Address::parse(address.host(), port).value_or(address);
}

/// A family that this machine does not have is passed over, as long as another one works.
bool is_family_missing(const OsError& error) {
  return error.code().value() == EADDRNOTAVAIL || error.code().value() == EAFNOSUPPORT;
}

}  // namespace

std::vector<UniqueFd> listen_tcp(const std::string& host, std::uint16_t port, const ServerOptions& options) {
  const auto addresses = resolve(host, port, {.family = options.family, .type = SOCK_STREAM, .flags = AI_PASSIVE});
  std::vector<UniqueFd> sockets;
  std::exception_ptr missing;
  for (const Address& address : addresses) {
    try {
      // Port 0 is chosen once: every family listens on the same.
      const bool has_port = port != 0 || sockets.empty();
      sockets.push_back(
          listen_on(has_port ? address : with_port(address, local_address(sockets.front().get()).port()), options));
    } catch (const OsError& error) {
      if (!is_family_missing(error)) throw;
      missing = std::current_exception();
    }
  }
  if (sockets.empty()) std::rethrow_exception(missing);
  return sockets;
}

}  // namespace tulp::detail
