// Datagram: what a socket for datagrams receives.  Floor 6, net.
#pragma once
#include <tulp/address.hpp>

#include <cstddef>
#include <string>

namespace tulp {

/// What recvfrom() gives: `auto [data, address] = socket.recvfrom();`
struct Datagram {
  std::string data;
  Address address;  ///< Who sent it; no address (AF_UNSPEC) for a Unix socket that has none.
};

/// What recvfrom_into() gives.
struct ReceivedDatagram {
  std::size_t size = 0;  ///< How many bytes were put into the memory; 0 for an empty datagram.
  Address address = {};
  bool is_truncated = false;  ///< The datagram was longer than the memory, and the rest of it is lost.
};

}  // namespace tulp
