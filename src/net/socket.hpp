// Sockets: making them and their options.  Floor 6, net.
#pragma once
#include <tulp/address.hpp>

#include "base/unique_fd.hpp"

namespace tulp::detail {

/// A non-blocking, close-on-exec stream socket.  Throws: OsError.
UniqueFd make_stream_socket(int family);
void set_option(int socket, int level, int option, int value) noexcept;
/// Sends small segments at once.  Harmless for sockets that are not TCP.
void set_no_delay(int socket) noexcept;
/// Lets close(2) send a reset instead of what is buffered.
void reset_on_close(int socket) noexcept;
/// Throws: OsError - "bind 127.0.0.1:80: Address already in use".
void bind_socket(int socket, const Address& address);

/// Takes the error that the socket has met since it was asked last; 0 for none.
int pending_error(int socket) noexcept;

/// An empty Address if the socket has none.
Address local_address(int socket) noexcept;
Address peer_address(int socket) noexcept;

}  // namespace tulp::detail
