#include "ssl/host_name.hpp"

#include <arpa/inet.h>
#include <idn2.h>

#include <algorithm>
#include <stdexcept>

namespace tulp::detail {
namespace {

bool is_numeric(const std::string& host) noexcept {
  in6_addr address{};
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 || ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

std::string to_a_labels(const std::string& host) {
  char* labels = nullptr;
  const int result = ::idn2_to_ascii_8z(host.c_str(), &labels, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (result != IDN2_OK) throw std::invalid_argument("'" + host + "' is no host name: " + ::idn2_strerror(result));
  std::string name = labels;
  ::idn2_free(labels);
  return name;
}

}  // namespace

SslHostName to_host_name(const std::string& host) {
  // What ends at a NUL for one reader and goes on for another has been an attack.
  if (host.find('\0') != std::string::npos) throw std::invalid_argument("a host name has a NUL in it");
  const std::string unscoped = host.substr(0, host.find('%'));
  if (is_numeric(unscoped)) return {unscoped, true};
  const bool is_ascii = std::all_of(host.begin(), host.end(), [](char c) { return static_cast<signed char>(c) > 0; });
  std::string name = is_ascii ? host : to_a_labels(host);
  if (name.ends_with('.')) name.pop_back();
  if (name.empty() || name.size() > 253) throw std::invalid_argument("'" + host + "' is no host name");
  return {name, false};
}

}  // namespace tulp::detail
