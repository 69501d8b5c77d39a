// sock_recv & co: a socket of one's own, in sequential code.  Floor 6, net.
//
// The socket stays the caller's.  Each call tries first, and is then woken when the socket is ready, as by
// wait_readable() and wait_writable().  To receive and to send, the socket may be a blocking one; sock_connect() and
// sock_accept() need O_NONBLOCK.  One task may wait to receive from a socket while another one waits to send.
//
// All of them throw: OsError - the system call's error, or ECANCELED: tulp::close() ended the wait; InvalidStateError -
// outside a task, somebody else waits for the same already, or the socket belongs to a transport.
// Source: asyncio's low-level methods of a loop: loop.sock_recv() and so on.
#pragma once
#include <tulp/address.hpp>
#include <tulp/datagram.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tulp {

/// At most `nbytes`; empty when the peer has ended.  Of a datagram that is longer the rest is lost.
/// Parks: until there is something.  Cancel: nothing has been received.
std::string sock_recv(int sock, std::size_t nbytes);
/// The same, into the caller's memory; how many bytes.
std::size_t sock_recv_into(int sock, std::span<char> buf);

/// The next datagram, and who sent it; of a stream some bytes, and no address.
/// Parks: until there is one.  Cancel: none has been lost.
/// Throws: OsError with EMSGSIZE - it was longer than `bufsize`, and is lost.
Datagram sock_recvfrom(int sock, std::size_t bufsize);
/// The same, into the caller's memory; a datagram that is too long is cut, and said to be.
ReceivedDatagram sock_recvfrom_into(int sock, std::span<char> buf);

/// Sends all of it.
/// Parks: while the kernel has no room.  Cancel and errors: some of it may have been sent, and nobody knows how much, so
/// that nothing sensible can follow on a stream.
void sock_sendall(int sock, std::string_view data);
/// Sends a datagram, which may be empty, to `address`, or without one to the peer of a connected socket; how many bytes.
/// Parks: while the kernel has no room.  Cancel: it has not been sent.
std::size_t sock_sendto(int sock, std::string_view data, const Address& address = {});

/// Parks: until the connection stands.  Cancel and errors: it may come about yet; the socket is good for closing alone.
/// Throws: OsError - "connect 127.0.0.1:80: Connection refused"; std::invalid_argument - the socket is blocking, or there
/// is no address.
void sock_connect(int sock, const Address& address);
/// The same, to the first address that a name has for a socket of this family.
/// Parks: until it is known, too.  Throws: ResolveError.
void sock_connect(int sock, const std::string& host, std::uint16_t port);

/// What sock_accept() gives: `auto [conn, address] = sock_accept(listening);`
struct AcceptedSocket {
  int conn;  ///< Non-blocking and close-on-exec; the caller's.
  Address address;
};
/// Passes over connections that were broken off before they could be accepted.
/// Parks: until there is one.  Cancel: none has been accepted.
/// Throws: std::invalid_argument - the socket is blocking; OsError with EMFILE and the like - the connection waits still.
AcceptedSocket sock_accept(int sock);

}  // namespace tulp
