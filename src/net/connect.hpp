// Connecting to a name and port.  Floor 6, net.
#pragma once
#include <tulp/transport.hpp>

#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {

/// Parks: until the connection stands.  Cancel: there is none.
/// Throws: ResolveError - no address; OsError - every address failed; TimeoutError - options.timeout.
std::unique_ptr<SocketStream> connect_tcp(const std::string& host, std::uint16_t port, const ConnectOptions& options);

/// Takes options.sock over.
/// Throws: std::invalid_argument - it is no stream socket, or there is a host; it is the caller's still then.
UniqueFd take_connected(const std::string& host, std::uint16_t port, const ConnectOptions& options);
/// Over a socket that is connected already.
/// Throws: OsError - it is not, or not any more, or it cannot be watched; InvalidStateError - it is watched.
std::unique_ptr<SocketStream> use_connected(EventLoop& loop, UniqueFd socket, const ConnectOptions& options);

}  // namespace tulp::detail
