// DatagramTransport: a socket for datagrams, as its protocol sees it.  Floor 6, transports.
#pragma once
#include <tulp/address.hpp>
#include <tulp/future.hpp>
#include <tulp/protocol.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tulp {

/// Datagrams that are sent to a group of receivers.
struct MulticastGroup {
  /// A numeric IPv4 or IPv6 address: "239.1.2.3", "ff02::1234".
  std::string address;
  /// Where to listen for it: an interface's name or number; empty is the system's choice.
  std::string interface = {};
};

/// Sends and receives datagrams, over UDP or a Unix socket, for a DatagramProtocol.  close() sends what is buffered.
/// get_extra_info() also knows "dropped_count" (std::uint32_t): how many datagrams the kernel threw away because nobody
/// read them in time.
/// Source: PEP 3156 "Datagram Transports".
class DatagramTransport : public BaseTransport {
 public:
  /// Sends one datagram, which may be empty, or keeps it until the kernel takes it: EAGAIN and ENOBUFS are waited out.
  /// No address is the peer that the endpoint is connected to.  What else goes wrong is told to error_received.  What is
  /// sent after the endpoint failed is dropped, with a warning from the fifth time on.
  /// Throws: InvalidStateError - after close() or abort(); std::invalid_argument - an address other than the peer's, or
  /// none and no peer.
  virtual void sendto(std::string_view data, const Address& addr = {}) = 0;
  /// Drops what is buffered, then connection_lost(null).
  virtual void abort() = 0;

  /// Throws: std::invalid_argument - low is above high.
  virtual void set_write_buffer_limits(WriteBufferLimits limits) = 0;
  /// Both marks, as they are in force.
  virtual WriteBufferLimits get_write_buffer_limits() const noexcept = 0;
  /// The bytes of the datagrams that wait to be sent; an empty one counts as one.
  virtual std::size_t get_write_buffer_size() const noexcept = 0;

  /// Begins, or ceases, to receive what is sent to the group.
  /// Throws: std::invalid_argument - it is no numeric address; OsError.
  virtual void join_group(const MulticastGroup& group) = 0;
  virtual void leave_group(const MulticastGroup& group) = 0;
};

/// How a socket for datagrams is opened.  At least one of local_addr, remote_addr, family and sock is needed.
/// Of several addresses that a name has, the first that works is taken.
struct DatagramOptions {
  /// Where to receive.  Port 0: the system's choice; nothing: the system's choice at the first sendto().  An empty host is
  /// all of IPv4, unless family or remote_addr say otherwise; {"::", port} is all of IPv6, and of IPv4 too if ipv6_only is
  /// false.  The file of a Unix socket stays when that is closed, as with asyncio, and is the program's to remove.
  AddressOrName local_addr = {};
  /// Connects: datagrams go to this address and come from there alone, and what ICMP says of them is heard.
  AddressOrName remote_addr = {};
  /// AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC takes what the addresses have.
  int family = 0;
  /// Lets several sockets share the port; the kernel spreads what comes over them, by sender.  Multicast goes to all.
  bool reuse_port = false;
  /// Allows sending to broadcast addresses.
  bool allow_broadcast = false;
  /// Whether "::" leaves IPv4 out.  Default: as the system does.
  std::optional<bool> ipv6_only = std::nullopt;
  /// How many routers what is sent to groups may pass, 0 to 255.  Default: 1, which is the local network.
  std::optional<int> multicast_ttl = std::nullopt;
  /// Whether this machine hears what it sends to groups itself.  Default: yes.
  std::optional<bool> multicast_loop = std::nullopt;
  /// The interface, by name or number, through which what is sent to groups leaves.  Default: the system's choice.
  std::string multicast_interface = {};
  /// The groups that are joined from the start.
  std::vector<MulticastGroup> multicast_groups = {};
  /// An open socket for datagrams to use instead of making one; there is no address, family or reuse_port then.  It belongs
  /// to tulp from the call on, whatever becomes of it, unless that throws std::invalid_argument.
  int sock = -1;
};

/// What create_datagram_endpoint() gives.
template <class P>
struct DatagramEndpoint {
  std::shared_ptr<DatagramTransport> transport;
  std::shared_ptr<P> protocol;
};

namespace detail {
using DatagramProtocolFactory = UniqueFunction<std::shared_ptr<DatagramProtocol>()>;
/// Opens the socket, and joins the transport to the protocol that it makes.  Parks: until connection_made has run.
using DatagramOpener = UniqueFunction<std::shared_ptr<DatagramTransport>(DatagramProtocolFactory)>;

DatagramOpener datagram_opener(const DatagramOptions& options);
}  // namespace detail

/// Opens a socket for datagrams, makes a DatagramProtocol with `factory()`, which returns a std::shared_ptr, and joins the
/// two.  The Future is done when connection_made has run.  Its error: ResolveError, OsError.
/// Throws: std::invalid_argument - the options contradict each other.
/// Source: PEP 3156 "Internet name lookups", create_datagram_endpoint.
template <class Factory>
auto EventLoop::create_datagram_endpoint(Factory factory, const DatagramOptions& options) {
  using P = typename std::invoke_result_t<Factory&>::element_type;
  auto open = [factory = std::move(factory), opener = detail::datagram_opener(options)]() mutable {
    std::shared_ptr<P> protocol;
    auto transport = opener([&] { return protocol = factory(); });
    return DatagramEndpoint<P>{std::move(transport), std::move(protocol)};
  };
  return Future<DatagramEndpoint<P>>(
      detail::start_task(*this, {.name = "create_datagram_endpoint"}, TULP_CALLER, std::move(open)));
}

}  // namespace tulp
