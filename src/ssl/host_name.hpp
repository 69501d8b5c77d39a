// Whom a certificate must be for.  Floor 6, ssl.
#pragma once
#include <string>

namespace tulp::detail {

struct SslHostName {
  std::string name;  // as DNS has it: A-labels, and no dot at its end; or an address without its scope
  bool is_address = false;
};

/// Throws: std::invalid_argument - that is no name.  Source: RFC 5891 (international names), RFC 6066 section 3.
SslHostName to_host_name(const std::string& host);

}  // namespace tulp::detail
