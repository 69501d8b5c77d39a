// join: a new transport and its protocol.  Floor 6, transports.
#pragma once
#include <tulp/transport.hpp>

#include <memory>

#include "transports/byte_stream.hpp"

namespace tulp::detail {

/// Parks: until connection_made has run.
std::shared_ptr<Transport> join(std::unique_ptr<ByteStream> stream, ProtocolFactory factory);

}  // namespace tulp::detail
