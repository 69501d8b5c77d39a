// Sockets to accept connections from.  Floor 6, net.
#pragma once
#include <tulp/detail/unique_function.hpp>
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
  bool is_tuned = false;  // has what is asked for each connection, which on Linux inherits it
};

/// Binds when it is called, and listens unless options.start_serving is false; no socket stays open if that fails.
/// Parks: until names are resolved.  Throws: ResolveError, OsError.
using Bind = UniqueFunction<std::vector<BoundSocket>()>;

// These three throw std::invalid_argument if an option does not fit; options.socks are the caller's still then.

/// One socket for each address of the hosts, an empty one being every address of this machine; all on one port.
/// On options.socks if there are some, and no host.
Bind bind_to(Hosts hosts, std::uint16_t port, const ServerOptions& options);
Bind bind_to(const Address& address, const ServerOptions& options);
Bind bind_sockets(const ServerOptions& options);

/// Throws: OsError.
void listen_on(BoundSocket& socket, const ServerOptions& options);

}  // namespace tulp::detail
