// Sockets for datagrams.  Floor 6, net.
#pragma once
#include <tulp/datagram_transport.hpp>

#include "base/unique_fd.hpp"

namespace tulp::detail {

/// Non-blocking, and as the options say.
struct OpenedDatagramSocket {
  UniqueFd socket;
  Address peer;  // whom it is connected to; empty for nobody
};

/// Takes options.sock over; empty if there is none.
/// Throws: std::invalid_argument - it is no socket for datagrams, or the options contradict each other; it is the caller's
/// still then.
UniqueFd take_datagram_socket(const DatagramOptions& options);
/// Opens a socket, or sets up the one that was taken.
/// Parks: until the names are resolved.
/// Throws: ResolveError; OsError - no address works, or an option does not.
OpenedDatagramSocket open_datagram(UniqueFd taken, const DatagramOptions& options);

/// Throws: std::invalid_argument - the group is no numeric address; OsError.
void join_group(int socket, const MulticastGroup& group);
void leave_group(int socket, const MulticastGroup& group);

}  // namespace tulp::detail
