// DatagramSocket: datagrams as sequential code sends and receives them.  Floor 8, streams.
#pragma once
#include <tulp/address.hpp>
#include <tulp/datagram.hpp>
#include <tulp/datagram_transport.hpp>
#include <tulp/duration.hpp>

#include <any>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tulp {

namespace detail {
class DatagramSocketState;
}

/// Memory for one datagram of recvmmsg(), and what came into it.
struct DatagramBuffer {
  std::span<char> memory;
  ReceivedDatagram received = {};
  std::string_view data() const noexcept { return {memory.data(), received.size}; }
};

/// One datagram of sendmmsg().
struct OutgoingDatagram {
  std::string_view data;
  Address address = {};  ///< None is the peer that the socket is connected to.
};

/// A socket for datagrams, over UDP or a Unix socket.  Dropping it closes it.
///
/// One task receives at a time; a second one gets InvalidStateError at once.  Tasks that send take turns, and may do so
/// while another receives.  What comes together is fetched together: the datagrams that a call has not returned wait for
/// the next one.
/// Throws, from everything that receives or sends: OsError with ECANCELED - the socket was closed on this side;
/// ConnectionRefusedError - the peer of a connected socket refused an earlier datagram; other OsErrors.  The socket stays
/// usable, and what a failing call was to send has not been sent.
/// Source: PEP 3156 "Datagram Transports", in fibers; socket.recvfrom() and sendto() of Python.
class DatagramSocket {
 public:
  explicit DatagramSocket(std::unique_ptr<detail::DatagramSocketState> state);
  DatagramSocket(DatagramSocket&&) noexcept;
  DatagramSocket& operator=(DatagramSocket&&) noexcept;
  ~DatagramSocket();

  /// The next datagram, whole; it may be empty.
  /// Parks: until there is one.  Cancel: none has been lost.
  /// Throws: OsError with EMSGSIZE - it was longer than max_bytes, and is lost; TimeoutError - see set_read_timeout().
  Datagram recvfrom(std::size_t max_bytes = 64 * 1024);
  /// The same, straight into the caller's memory.
  /// Parks, Cancel, Throws: as recvfrom(), but a datagram that is too long is cut, and said to be.
  ReceivedDatagram recvfrom_into(std::span<char> into);
  /// As many datagrams as are there, at least one and at most 64, in one system call where the system can; how many.
  /// Parks, Cancel, Throws: as recvfrom_into().
  std::size_t recvmmsg(std::span<DatagramBuffer> buffers);

  /// Sends one datagram, which may be empty.
  /// Parks: while the kernel has no room.  Cancel: it has not been sent.
  /// Throws: std::invalid_argument - an address other than the peer's of a connected socket, or none and no peer; OsError
  /// with EMSGSIZE - it is too long to be sent.
  void sendto(std::string_view data, const Address& addr = {});
  /// Sends as many as the kernel takes, from the first on, at least one and at most 64; how many.
  /// Parks, Cancel: as sendto().  Throws: as sendto(), of the first one.
  std::size_t sendmmsg(std::span<const OutgoingDatagram> datagrams);

  /// From now on a call that waits longer in all for a datagram throws TimeoutError.  Duration::max() is for ever.
  void set_read_timeout(Duration timeout);

  /// As those of DatagramTransport.
  void join_group(const MulticastGroup& group);
  void leave_group(const MulticastGroup& group);

  /// Whoever is parked here gets an OsError with ECANCELED.  Does not park; may be called twice.
  void close();
  bool is_closing() const noexcept;

  /// As that of DatagramTransport.
  std::any get_extra_info(std::string_view key) const;
  template <class V>
  std::optional<V> get_extra_info(std::string_view key) const {
    const std::any value = get_extra_info(key);
    const V* typed = std::any_cast<V>(&value);
    return typed != nullptr ? std::optional<V>(*typed) : std::nullopt;
  }

 private:
  std::unique_ptr<detail::DatagramSocketState> state_;
};

/// Parks: until the names are resolved.  Cancel: there is no socket.
/// Throws: ResolveError; OsError - no address works; std::invalid_argument - the options contradict each other.
DatagramSocket open_datagram_socket(DatagramOptions options);

}  // namespace tulp
