// Connecting to a name and port, to an address, or over a socket that is connected.  Floor 6, net.
#pragma once
#include <tulp/detail/unique_function.hpp>
#include <tulp/transport.hpp>

#include <memory>
#include <string>

#include "transports/socket_stream.hpp"

namespace tulp::detail {

/// Connects when it is called.
/// Parks: until the connection stands.  Cancel: there is none.
/// Throws: ResolveError - no address; OsError - every address failed; TimeoutError - options.timeout.
using Connect = UniqueFunction<std::unique_ptr<ByteStream>()>;

// These three throw std::invalid_argument if an option does not fit; options.sock is the caller's still then.

/// Over options.sock if there is one, and no host.
Connect connect_to(std::string host, std::uint16_t port, const ConnectOptions& options);
Connect connect_to(const Address& address, const ConnectOptions& options);
Connect connect_over_socket(const ConnectOptions& options);

}  // namespace tulp::detail
