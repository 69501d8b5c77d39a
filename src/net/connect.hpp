// Connecting to a name and port.  Floor 6, net.
#pragma once
#include <tulp/transport.hpp>

#include <memory>
#include <string>

#include "transports/socket_stream.hpp"

namespace tulp::detail {

/// Parks: until the connection stands.  Cancel: there is none.
/// Throws: ResolveError - no address; OsError - every address failed; TimeoutError - options.timeout.
std::unique_ptr<SocketStream> connect_tcp(const std::string& host, std::uint16_t port, const ConnectOptions& options);

}  // namespace tulp::detail
