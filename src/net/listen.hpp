// Sockets to accept connections from.  Floor 6, net.
#pragma once
#include <tulp/server.hpp>

#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "net/unix_socket.hpp"

namespace tulp::detail {

struct BoundSocket {
  UniqueFd socket;
  SocketFile file = {};  // of a Unix socket that is to be removed when this is closed
  bool is_listening = false;
};

/// One socket for each address of the hosts, an empty one being every address of this machine; all on one port.  They
/// listen unless options.start_serving is false, as with the functions below.
/// Parks: until the names are resolved.  Throws: ResolveError, OsError; no socket stays open then.
std::vector<BoundSocket> bind_tcp(const Hosts& hosts, std::uint16_t port, const ServerOptions& options);
/// Throws: OsError.
std::vector<BoundSocket> bind_unix(const Address& address, const ServerOptions& options);
/// Sockets that come from elsewhere.  Throws: OsError.
std::vector<BoundSocket> use_bound(std::vector<UniqueFd> sockets, const ServerOptions& options);

/// Takes options.socks over.
/// Throws: std::invalid_argument - there are none, one of them is no stream socket, or there is a host; they are the
/// caller's still then.
std::vector<UniqueFd> take_bound(const Hosts& hosts, std::uint16_t port, const ServerOptions& options);

/// Throws: OsError.
void listen_on(BoundSocket& socket, const ServerOptions& options);

}  // namespace tulp::detail
