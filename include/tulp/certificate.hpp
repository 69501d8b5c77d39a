// Certificate: who a TLS peer says it is.  Floor 6, ssl.
#pragma once
#include <chrono>
#include <string>
#include <vector>

namespace tulp {

/// What an X.509 certificate says, as Transport::get_extra_info("peercert") gives it.  Whether to believe that is decided
/// in the handshake: unless its context has a danger_ option, what is here has been verified.
/// Source: RFC 5280; asyncio's "peercert".
struct Certificate {
  /// Distinguished names, as RFC 4514 spells them: "CN=a.example,O=A".
  std::string subject;
  std::string issuer;
  /// In hexadecimal digits.
  std::string serial_number;
  std::chrono::system_clock::time_point not_before;
  std::chrono::system_clock::time_point not_after;
  /// Whom it is for: the names, wildcards as they stand there, and the addresses of its subjectAltName.
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  /// All of it, in binary.
  std::string der;

  /// All of it, in text.
  std::string pem() const;
};

}  // namespace tulp
