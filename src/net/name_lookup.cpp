#include "net/name_lookup.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include <tulp/error.hpp>

#include "base/sys.hpp"

namespace tulp::detail {
namespace {

struct SocketKind {
  int type;
  int proto;
};
/// What getaddrinfo(3) offers for each address, in its order.
constexpr SocketKind socket_kinds[] = {{SOCK_STREAM, IPPROTO_TCP}, {SOCK_DGRAM, IPPROTO_UDP}, {SOCK_RAW, IPPROTO_IP}};

std::string describe_lookup(const std::string& host, const std::string& service) {
  if (host.empty()) return service.empty() ? "resolve an empty name" : "resolve service " + service;
  return "resolve " + host;
}

/// Throws the error that a call of netdb.h has returned.
[[noreturn]] void throw_lookup_error(int error, const std::string& what) {
  if (error == EAI_SYSTEM) throw_os_error(errno, what);
  throw ResolveError(error, what);
}

std::optional<std::uint16_t> parse_port(const std::string& service) {
  std::uint16_t port = 0;
  if (service.empty()) return port;
  const auto [end, error] = std::from_chars(service.data(), service.data() + service.size(), port);
  if (error != std::errc() || end != service.data() + service.size()) return std::nullopt;
  return port;
}

/// getaddrinfo would read "0x7f000001" and "127.1" as addresses, and stop at a NUL: names that look like something else
/// than they are.
bool is_misleading(const std::string& name) {
  in_addr address{};
  return name.find('\0') != std::string::npos || name.size() > 255 ||
         (::inet_aton(name.c_str(), &address) != 0 && !Address::parse(name, 0));
}

const char* or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

}  // namespace

std::optional<std::vector<AddressInfo>> numeric_addresses(const std::string& host, const std::string& service,
                                                          const AddressInfoOptions& options) {
  const auto port = parse_port(service);
  if (!port) return std::nullopt;
  auto address = Address::parse(host, *port);
  if (!address) return std::nullopt;
  if (options.family == AF_INET6 && (options.flags & AI_V4MAPPED) != 0 && address->family() == AF_INET)
    address = Address::parse("::ffff:" + host, *port);
  if (options.family != AF_UNSPEC && options.family != address->family())
    throw ResolveError(EAI_ADDRFAMILY, describe_lookup(host, service));

  std::vector<AddressInfo> infos;
  for (const SocketKind kind : socket_kinds) {
    if (options.type != 0 && options.type != kind.type) continue;
    if (options.proto != 0 && kind.proto != 0 && options.proto != kind.proto) continue;
    infos.push_back({*address, kind.type, options.proto != 0 ? options.proto : kind.proto});
  }
  if (infos.empty()) infos.push_back({*address, options.type, options.proto});
  if ((options.flags & AI_CANONNAME) != 0) infos.front().canonname = host;
  return infos;
}

std::vector<AddressInfo> look_up_addresses(const std::string& host, const std::string& service,
                                           const AddressInfoOptions& options) {
  const std::string what = describe_lookup(host, service);
  if (is_misleading(host) || service.find('\0') != std::string::npos) throw ResolveError(EAI_NONAME, what);
  addrinfo hints{};
  hints.ai_family = options.family;
  hints.ai_socktype = options.type;
  hints.ai_protocol = options.proto;
  hints.ai_flags = options.flags;
  addrinfo* found = nullptr;
  if (const int error = sys.getaddrinfo(or_null(host), or_null(service), &hints, &found))
    throw_lookup_error(error, what);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, sys.freeaddrinfo);
  std::vector<AddressInfo> infos;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    AddressInfo info{Address(at->ai_addr, at->ai_addrlen), at->ai_socktype, at->ai_protocol};
    if (std::find(infos.begin(), infos.end(), info) != infos.end()) continue;
    infos.push_back(std::move(info));
  }
  if (infos.empty()) throw ResolveError(EAI_NONAME, what);
  if (found->ai_canonname != nullptr) infos.front().canonname = found->ai_canonname;
  return infos;
}

std::optional<NameInfo> numeric_names(const Address& address, int flags) {
  const bool is_internet = address.family() == AF_INET || address.family() == AF_INET6;
  if (!is_internet || (flags & NI_NUMERICHOST) == 0 || (flags & NI_NUMERICSERV) == 0) return std::nullopt;
  return NameInfo{address.host(), std::to_string(address.port())};
}

NameInfo look_up_names(const Address& address, int flags) {
  char host[NI_MAXHOST], service[NI_MAXSERV];
  if (const int error =
          sys.getnameinfo(address.data(), address.size(), host, sizeof host, service, sizeof service, flags))
    throw_lookup_error(error, "name of " + address.to_string());
  return {host, service};
}

}  // namespace tulp::detail
