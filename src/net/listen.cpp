#include "net/listen.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <stdexcept>
#include <utility>

#include <tulp/error.hpp>

#include "net/resolver.hpp"
#include "net/socket.hpp"
#include "ssl/handshake.hpp"

namespace tulp::detail {
namespace {

/// How often another port is chosen when one of the addresses does not have the one that was.
constexpr int most_choices = 16;

/// Throws: OsError - the system does not have the option.
void require_option(int socket, int option, const char* name, const Address& address) {
  const int on = 1;
  if (sys.setsockopt(socket, SOL_SOCKET, option, &on, sizeof on) != 0)
    throw_os_error(errno, std::string(name) + " on " + address.to_string());
}

BoundSocket bind_one(const Address& address, const ServerOptions& options) {
  BoundSocket bound{make_stream_socket(address.family())};
  const int fd = bound.socket.get();
  if (options.reuse_address) require_option(fd, SO_REUSEADDR, "SO_REUSEADDR", address);
  if (options.reuse_port) require_option(fd, SO_REUSEPORT, "SO_REUSEPORT", address);
  if (address.family() == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  tune(fd, options);
  bound.is_tuned = true;
  bind_socket(fd, address);
  if (options.start_serving) listen_on(bound, options);
  return bound;
}

/// The same address with another port.
Address with_port(const Address& address, std::uint16_t port) {
  return Address::parse(address.host(), port).value_or(address);
}

bool has_code(const OsError& error, int code) { return error.code().value() == code; }

/// A family that this machine does not have is passed over, as long as another one works.
bool is_family_missing(const OsError& error) { return has_code(error, EADDRNOTAVAIL) || has_code(error, EAFNOSUPPORT); }

/// Port 0 is chosen once: every address listens on the same.
std::vector<BoundSocket> bind_all(const std::vector<Address>& addresses, std::uint16_t port,
                                  const ServerOptions& options) {
  std::vector<BoundSocket> sockets;
  std::exception_ptr missing;
  for (const Address& address : addresses) {
    try {
      const bool has_port = port != 0 || sockets.empty();
      const Address wanted =
          has_port ? address : with_port(address, local_address(sockets.front().socket.get()).port());
      sockets.push_back(bind_one(wanted, options));
    } catch (const OsError& error) {
      if (!is_family_missing(error)) throw;
      missing = std::current_exception();
    }
  }
  if (sockets.empty()) std::rethrow_exception(missing);
  return sockets;
}

std::vector<Address> resolve_all(const Hosts& hosts, std::uint16_t port, const ServerOptions& options) {
  std::vector<Address> addresses;
  const AddressInfoOptions hints{.family = options.family, .type = SOCK_STREAM, .flags = options.flags | AI_PASSIVE};
  for (const std::string& host : hosts.names()) {
    for (const Address& address : resolve(host, port, hints)) {
      if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
    }
  }
  return addresses;
}

std::vector<BoundSocket> bind_hosts(const Hosts& hosts, std::uint16_t port, const ServerOptions& options) {
  const std::vector<Address> addresses = resolve_all(hosts, port, options);
  for (int choices_left = port == 0 && addresses.size() > 1 ? most_choices : 1;; --choices_left) {
    try {
      return bind_all(addresses, port, options);
    } catch (const OsError& error) {
      if (!has_code(error, EADDRINUSE) || choices_left == 1) throw;
    }
  }
}

std::vector<BoundSocket> bind_unix(const Address& address, const ServerOptions& options) {
  auto [socket, file] = bind_path(address);
  if (!options.cleanup_socket) file.forget();
  std::vector<BoundSocket> sockets;
  sockets.push_back({std::move(socket), std::move(file)});
  if (options.start_serving) listen_on(sockets.front(), options);
  return sockets;
}

std::vector<BoundSocket> use_bound(std::vector<UniqueFd> taken, const ServerOptions& options) {
  std::vector<BoundSocket> sockets;
  for (UniqueFd& socket : taken) {
    const bool is_listening = get_option(socket.get(), SOL_SOCKET, SO_ACCEPTCONN) != 0;
    sockets.push_back({std::move(socket), {}, is_listening});
    if (options.start_serving) listen_on(sockets.back(), options);
  }
  return sockets;
}

void check_ssl(const ServerOptions& options) { static_cast<void>(server_settings(options)); }

}  // namespace

void listen_on(BoundSocket& socket, const ServerOptions& options) {
  if (std::exchange(socket.is_listening, true)) return;
  if (sys.listen(socket.socket.get(), options.backlog) == 0) return;
  socket.is_listening = false;
  throw_os_error(errno, "listen " + local_address(socket.socket.get()).to_string());
}

Bind bind_to(Hosts hosts, std::uint16_t port, const ServerOptions& options) {
  check_ssl(options);
  if (!options.socks.empty()) {
    if (hosts.names() != std::vector<std::string>{""} || port != 0)
      throw std::invalid_argument("both a host and sockets to listen on");
    return bind_sockets(options);
  }
  return [hosts = std::move(hosts), port, options] { return bind_hosts(hosts, port, options); };
}

Bind bind_to(const Address& address, const ServerOptions& options) {
  check_ssl(options);
  if (address.family() == AF_UNSPEC) throw std::invalid_argument("no address to listen on");
  if (!options.socks.empty()) throw std::invalid_argument("both an address and sockets to listen on");
  if (options.family != AF_UNSPEC && options.family != address.family())
    throw std::invalid_argument(address.to_string() + " is not of the family to listen with");
  if (address.family() != AF_UNIX) return [address, options] { return bind_all({address}, address.port(), options); };
  if (options.reuse_port) throw std::invalid_argument("a Unix socket has no port to reuse");
  return [address, options] { return bind_unix(address, options); };
}

Bind bind_sockets(const ServerOptions& options) {
  check_ssl(options);
  if (options.socks.empty()) throw std::invalid_argument("neither a host nor a socket to listen on");
  for (const int socket : options.socks) check_socket(socket, SOCK_STREAM, "a stream socket");
  std::vector<UniqueFd> taken;
  for (const int socket : options.socks) taken.push_back(take_socket(socket));
  return [taken = std::move(taken), options]() mutable { return use_bound(std::move(taken), options); };
}

}  // namespace tulp::detail
