// Address: where a socket is.  Floor 6, net.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

struct sockaddr;

namespace tulp {

/// An IPv4, IPv6 (with scope) or Unix socket address.  A value; ordered and hashed by its bytes.
class Address {
 public:
  /// No address: family() is AF_UNSPEC.
  Address() = default;
  /// Copies what a system call gave.
  Address(const sockaddr* address, std::size_t size) noexcept;

  /// A numeric IPv4 or IPv6 address, "fe80::1%eth0" included; nothing for a name or anything else.
  static std::optional<Address> parse(std::string_view host, std::uint16_t port);
  /// A Unix socket; a path that begins with NUL is an abstract name.
  /// Throws: std::invalid_argument - empty, longer than the system allows (107 bytes), or with a NUL inside.
  static Address unix_path(std::string_view path);

  int family() const noexcept;
  /// "127.0.0.1", "fe80::1%eth0", or the path.
  std::string host() const;
  /// 0 for a Unix socket.
  std::uint16_t port() const noexcept;
  /// "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock", or "unix:@name" for an abstract name.
  std::string to_string() const;

  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(bytes_); }
  std::uint32_t size() const noexcept { return size_; }

  friend bool operator==(const Address& a, const Address& b) noexcept { return a.view() == b.view(); }
  friend std::strong_ordering operator<=>(const Address& a, const Address& b) noexcept { return a.view() <=> b.view(); }
  friend std::ostream& operator<<(std::ostream& out, const Address& address);

 private:
  friend struct std::hash<Address>;
  std::string_view view() const noexcept { return {bytes_, size_}; }

  alignas(8) char bytes_[112] = {};  // as large as sockaddr_un, the largest of them
  std::uint32_t size_ = 0;
};

/// Where a socket is to be: an Address, or a host, which may be a name, and a port; or nothing.
class AddressOrName {
 public:
  AddressOrName() = default;
  AddressOrName(const Address& address) : address_(address) {}
  /// A name is resolved by whoever opens the socket.  An empty host is all addresses of this machine.
  AddressOrName(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port), is_name_(true) {}

  bool is_given() const noexcept { return is_name_ || address_; }
  bool is_any() const noexcept { return is_name_ && host_.empty(); }
  const std::optional<Address>& address() const noexcept { return address_; }
  const std::string& host() const noexcept { return host_; }
  std::uint16_t port() const noexcept { return port_; }
  /// "localhost:80", or the address.
  std::string to_string() const;

 private:
  std::optional<Address> address_;
  std::string host_;
  std::uint16_t port_ = 0;
  bool is_name_ = false;
};

}  // namespace tulp

template <>
struct std::hash<tulp::Address> {
  std::size_t operator()(const tulp::Address& address) const noexcept {
    return std::hash<std::string_view>()(address.view());
  }
};
