#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <ostream>
#include <stdexcept>

#include <tulp/address.hpp>

#include "net/interface.hpp"

namespace tulp {

using detail::interface_number;

namespace {

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);

/// inet_ntop(3) prints it by way of printf, which would be a tenth of what a server does for a short connection.
std::string dotted(const in_addr& address) {
  std::array<unsigned char, 4> numbers;
  std::memcpy(numbers.data(), &address, numbers.size());
  std::array<char, INET_ADDRSTRLEN> text;
  char* end = text.data();
  for (const unsigned char number : numbers) {
    if (end != text.data()) *end++ = '.';
    end = std::to_chars(end, text.data() + text.size(), number).ptr;
  }
  return {text.data(), end};
}

}  // namespace

Address::Address(const sockaddr* address, std::size_t size) noexcept
    : size_(static_cast<std::uint32_t>(std::min(size, sizeof bytes_))) {
  static_assert(sizeof(sockaddr_un) <= sizeof bytes_ && sizeof(sockaddr_in6) <= sizeof bytes_);
  std::memcpy(bytes_, address, size_);
}

std::optional<Address> Address::parse(std::string_view text, std::uint16_t port) {
  const std::string host(text);
  if (host.find('\0') != std::string::npos) return std::nullopt;
  sockaddr_in v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return Address(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  sockaddr_in6 v6{};
  const auto percent = host.find('%');
  if (::inet_pton(AF_INET6, host.substr(0, percent).c_str(), &v6.sin6_addr) != 1) return std::nullopt;
  if (percent != std::string::npos) {
    v6.sin6_scope_id = interface_number(host.substr(percent + 1));
    if (v6.sin6_scope_id == 0) return std::nullopt;
  }
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  return Address(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

Address Address::unix_path(std::string_view path) {
  sockaddr_un un{};
  if (path.empty()) throw std::invalid_argument("a Unix socket needs a path");
  if (path.size() >= sizeof un.sun_path)
    throw std::invalid_argument("the path of a Unix socket is limited to 107 bytes: " + std::string(path));
  if (path.find('\0', 1) != std::string_view::npos && path.front() != '\0')
    throw std::invalid_argument("the path of a Unix socket has a NUL in it");
  un.sun_family = AF_UNIX;
  path.copy(un.sun_path, path.size());
  const bool is_abstract = path.front() == '\0';
  return Address(reinterpret_cast<const sockaddr*>(&un), path_offset + path.size() + (is_abstract ? 0 : 1));
}

int Address::family() const noexcept { return size_ == 0 ? AF_UNSPEC : data()->sa_family; }

std::uint16_t Address::port() const noexcept {
  switch (family()) {
    case AF_INET: return ntohs(reinterpret_cast<const sockaddr_in*>(bytes_)->sin_port);
    case AF_INET6: return ntohs(reinterpret_cast<const sockaddr_in6*>(bytes_)->sin6_port);
    default: return 0;
  }
}

std::string Address::host() const {
  if (family() == AF_INET) return dotted(reinterpret_cast<const sockaddr_in*>(bytes_)->sin_addr);
  if (family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(bytes_);
    char text[INET6_ADDRSTRLEN + IF_NAMESIZE];
    std::string host = ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    if (v6->sin6_scope_id == 0) return host;
    const char* name = ::if_indextoname(v6->sin6_scope_id, text);
    return host + '%' + (name != nullptr ? std::string(name) : std::to_string(v6->sin6_scope_id));
  }
  if (family() != AF_UNIX || size_ <= path_offset) return {};
  const std::string_view path(bytes_ + path_offset, size_ - path_offset);
  return std::string(path.front() == '\0' ? path : path.substr(0, path.find('\0')));
}

std::string Address::to_string() const {
  switch (family()) {
    case AF_INET: return host() + ':' + std::to_string(port());
    case AF_INET6: return '[' + host() + "]:" + std::to_string(port());
    case AF_UNIX: {
      std::string path = host();
      if (path.empty()) return "an unnamed Unix socket";
      if (path.front() == '\0') path.front() = '@';
      return "unix:" + path;
    }
    default: return "no address";
  }
}

std::ostream& operator<<(std::ostream& out, const Address& address) { return out << address.to_string(); }

std::string AddressOrName::to_string() const {
  return is_name_ ? host_ + ':' + std::to_string(port_) : address_.value_or(Address()).to_string();
}

}  // namespace tulp
