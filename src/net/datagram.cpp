#include "net/datagram.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <tulp/error.hpp>

#include "net/interface.hpp"
#include "net/resolver.hpp"
#include "net/socket.hpp"

namespace tulp::detail {
namespace {

std::uint32_t require_interface(const std::string& name) {
  if (name.empty()) return 0;  // the system's choice
  const std::uint32_t number = interface_number(name);
  if (number == 0) throw_os_error(ENODEV, "network interface " + name);
  return number;
}

template <class Value>
void require_option(int socket, int level, int option, const Value& value, const std::string& what) {
  if (sys.setsockopt(socket, level, option, &value, sizeof value) != 0) throw_os_error(errno, what);
}

Address address_of(const MulticastGroup& group) {
  if (const auto address = Address::parse(group.address, 0)) return *address;
  throw std::invalid_argument("'" + group.address + "' is no numeric address of a multicast group");
}

void change_membership(int socket, int option, const MulticastGroup& group, const char* verb) {
  const Address address = address_of(group);
  group_req request{};
  request.gr_interface = require_interface(group.interface);
  std::memcpy(&request.gr_group, address.data(), address.size());
  require_option(socket, address.family() == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, option, request,
                 verb + (' ' + group.address));
}

void set_multicast_options(int socket, int family, const DatagramOptions& options) {
  const bool is_v6 = family == AF_INET6;
  const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  if (options.multicast_ttl)
    require_option(socket, level, is_v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, *options.multicast_ttl,
                   "multicast_ttl " + std::to_string(*options.multicast_ttl));
  if (options.multicast_loop)
    require_option(socket, level, is_v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, int{*options.multicast_loop},
                   "multicast_loop");
  if (options.multicast_interface.empty()) return;
  const int number = static_cast<int>(require_interface(options.multicast_interface));
  const std::string what = "multicast_interface " + options.multicast_interface;
  if (is_v6) return require_option(socket, level, IPV6_MULTICAST_IF, number, what);
  ip_mreqn request{};
  request.imr_ifindex = number;
  require_option(socket, level, IP_MULTICAST_IF, request, what);
}

/// Those that are not asked for stay as they are.
void set_options(int socket, int family, const DatagramOptions& options) {
  if (options.reuse_port) require_option(socket, SOL_SOCKET, SO_REUSEPORT, 1, "reuse_port");
  if (options.allow_broadcast) require_option(socket, SOL_SOCKET, SO_BROADCAST, 1, "allow_broadcast");
  if (options.ipv6_only && family == AF_INET6)
    require_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, int{*options.ipv6_only}, "ipv6_only");
  set_multicast_options(socket, family, options);
}

void join_groups(int socket, const DatagramOptions& options) {
  for (const MulticastGroup& group : options.multicast_groups) join_group(socket, group);
}

/// An address without a family is passed over.
OpenedDatagramSocket open_one(int family, const Address& local, const Address& remote, const DatagramOptions& options) {
  UniqueFd socket(sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) throw_os_error(errno, "socket");
  set_options(socket.get(), family, options);
  if (local.family() != AF_UNSPEC) bind_socket(socket.get(), local);
  join_groups(socket.get(), options);
  if (remote.family() != AF_UNSPEC && sys.connect(socket.get(), remote.data(), remote.size()) != 0)
    throw_os_error(errno, "connect " + remote.to_string());
  return {std::move(socket), remote};
}

/// One empty Address if there is nothing to resolve.
std::vector<Address> addresses_of(const AddressOrName& name, int family, bool is_local) {
  if (!name.is_given()) return {Address()};
  if (name.address()) return {*name.address()};
  if (name.host().empty() && !is_local) throw ResolveError(EAI_NONAME, "connect to an empty host name");
  return resolve(name.host(), name.port(), {.family = family, .type = SOCK_DGRAM, .flags = is_local ? AI_PASSIVE : 0});
}

std::string names_of(const DatagramOptions& options) {
  std::string names;
  if (options.local_addr.is_given()) names += " from " + options.local_addr.to_string();
  if (options.remote_addr.is_given()) names += " to " + options.remote_addr.to_string();
  return names;
}

/// What one pair of addresses failed with speaks for itself; several are listed, and the last one gives the type.
class Failures {
 public:
  /// To be called in a handler of `error`.
  void add(const OsError& error) {
    last_ = std::current_exception();
    last_number_ = error.code().value();
    list_ += (count_++ == 0 ? "" : "; ") + std::string(error.what());
  }
  [[noreturn]] void raise(const DatagramOptions& options) const {
    if (count_ == 1) std::rethrow_exception(last_);
    if (count_ == 0) throw_os_error(EAFNOSUPPORT, "datagrams" + names_of(options));
    throw_os_error(last_number_, "datagrams" + names_of(options) + " (" + list_ + ")");
  }

 private:
  std::exception_ptr last_;
  int last_number_ = 0;
  int count_ = 0;
  std::string list_;
};

/// The family of the two, AF_UNSPEC if they do not fit together.
int common_family(const Address& local, const Address& remote, int wanted) {
  int family = wanted;
  for (const int other : {local.family(), remote.family()}) {
    if (other == AF_UNSPEC) continue;
    if (family != AF_UNSPEC && family != other) return AF_UNSPEC;
    family = other;
  }
  return family;
}

OpenedDatagramSocket open_new(const DatagramOptions& options) {
  // One socket listens in one family, and which one an empty host means is not left to the order of a resolver's answer.
  const bool is_any_of_v4 = options.local_addr.is_any() && !options.remote_addr.is_given();
  const int local_family = options.family == AF_UNSPEC && is_any_of_v4 ? AF_INET : options.family;
  const auto locals = addresses_of(options.local_addr, local_family, true);
  const auto remotes = addresses_of(options.remote_addr, options.family, false);
  Failures failures;
  for (const Address& remote : remotes) {
    for (const Address& local : locals) {
      const int family = common_family(local, remote, options.family);
      if (family == AF_UNSPEC) continue;
      try {
        return open_one(family, local, remote, options);
      } catch (const OsError& error) {
        failures.add(error);
      }
    }
  }
  failures.raise(options);
}

OpenedDatagramSocket set_up(UniqueFd taken, const DatagramOptions& options) {
  const int socket = taken.get();
  set_options(socket, local_address(socket).family(), options);
  join_groups(socket, options);
  return {std::move(taken), peer_address(socket)};
}

}  // namespace

UniqueFd take_datagram_socket(const DatagramOptions& options) {
  const bool has_address = options.local_addr.is_given() || options.remote_addr.is_given();
  const bool has_family = options.family != AF_UNSPEC;
  for (const MulticastGroup& group : options.multicast_groups) address_of(group);
  if (options.sock < 0) {
    if (has_address || has_family) return UniqueFd();
    throw std::invalid_argument("datagrams need a local_addr, a remote_addr, a family or a socket");
  }
  if (has_address || has_family || options.reuse_port)
    throw std::invalid_argument("with sock, no local_addr, remote_addr, family or reuse_port can be given");
  check_socket(options.sock, SOCK_DGRAM, "a socket for datagrams");
  return take_socket(options.sock);
}

OpenedDatagramSocket open_datagram(UniqueFd taken, const DatagramOptions& options) {
  return taken ? set_up(std::move(taken), options) : open_new(options);
}

void join_group(int socket, const MulticastGroup& group) {
  change_membership(socket, MCAST_JOIN_GROUP, group, "join group");
}

void leave_group(int socket, const MulticastGroup& group) {
  change_membership(socket, MCAST_LEAVE_GROUP, group, "leave group");
}

}  // namespace tulp::detail
