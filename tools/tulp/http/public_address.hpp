// is_public: whether an address is one that everybody means the same machine by.
#pragma once
#include <tulp/address.hpp>

namespace tool::http {

/// Not so are this machine, private networks, links (where clouds keep their secrets), and groups.
/// Source: the special-purpose address registries of IANA, RFC 6890.
bool is_public(const tulp::Address& address);

}  // namespace tool::http
