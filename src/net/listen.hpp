// Listening sockets for a host and port.  Floor 6, net.
#pragma once
#include <tulp/server.hpp>

#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace tulp::detail {

/// One socket for each address of `host`; an empty host is every address of this machine, on one port.
/// Parks: until the name is resolved.  Throws: ResolveError, OsError; no socket stays open then.
std::vector<UniqueFd> listen_tcp(const std::string& host, std::uint16_t port, const ServerOptions& options);

}  // namespace tulp::detail
