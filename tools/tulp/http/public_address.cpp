#include "http/public_address.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace tool::http {
namespace {

struct Network {
  std::array<std::uint8_t, 16> bytes;
  unsigned prefix_bits;
};

constexpr std::array ipv4_networks{
    Network{{0}, 8},           // this network
    Network{{10}, 8},          // private
    Network{{100, 64}, 10},    // behind a provider's translator
    Network{{127}, 8},         // this machine
    Network{{169, 254}, 16},   // link
    Network{{172, 16}, 12},    // private
    Network{{192, 0, 0}, 24},  // assignments of protocols
    Network{{192, 168}, 16},   // private
    Network{{198, 18}, 15},    // benchmarks
    Network{{224}, 3},         // groups, reserved, everybody
};
constexpr std::array ipv6_networks{
    Network{{0xfc}, 7},        // private
    Network{{0xfe, 0x80}, 9},  // link, and site, as it once was
    Network{{0xff}, 8},        // groups
};
constexpr Network ipv4_in_ipv6{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};
constexpr Network ipv4_behind_translator{{0, 0x64, 0xff, 0x9b}, 96};
constexpr Network ipv4_in_6to4{{0x20, 0x02}, 16};
constexpr Network begins_with_zeros{{0}, 96};  // this machine, nobody, and what once stood for IPv4

using Bytes = std::span<const std::uint8_t>;

bool is_in(Bytes address, const Network& network) {
  for (unsigned bit = 0; bit < network.prefix_bits; bit += 8) {
    const unsigned bits = std::min(network.prefix_bits - bit, 8U);
    const auto mask = static_cast<std::uint8_t>(0xff << (8 - bits));
    if (((address[bit / 8] ^ network.bytes[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

template <std::size_t n>
bool is_in_any(Bytes address, const std::array<Network, n>& networks) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& network) { return is_in(address, network); });
}

bool is_public_ipv4(Bytes address) { return !is_in_any(address, ipv4_networks); }

bool is_public_ipv6(Bytes address) {
  if (is_in(address, ipv4_in_ipv6) || is_in(address, ipv4_behind_translator))
    return is_public_ipv4(address.subspan(12));
  if (is_in(address, ipv4_in_6to4)) return is_public_ipv4(address.subspan(2, 4));
  return !is_in(address, begins_with_zeros) && !is_in_any(address, ipv6_networks);
}

template <class Sockaddr, class Member>
Bytes bytes_of(const tulp::Address& address, Member Sockaddr::*member, std::array<std::uint8_t, 16>& into) {
  Sockaddr parts{};
  std::memcpy(&parts, address.data(), sizeof parts);
  std::memcpy(into.data(), &(parts.*member), sizeof(Member));
  return Bytes(into).first(sizeof(Member));
}

}  // namespace

bool is_public(const tulp::Address& address) {
  std::array<std::uint8_t, 16> bytes{};
  switch (address.family()) {
    case AF_INET: return is_public_ipv4(bytes_of(address, &sockaddr_in::sin_addr, bytes));
    case AF_INET6: return is_public_ipv6(bytes_of(address, &sockaddr_in6::sin6_addr, bytes));
    default: return false;
  }
}

}  // namespace tool::http
