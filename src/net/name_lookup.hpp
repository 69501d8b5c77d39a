// Looking up names, on whatever thread this is called.  Floor 6, net.
#pragma once
#include <tulp/address_info.hpp>

#include <optional>
#include <string>
#include <vector>

namespace tulp::detail {

/// What getaddrinfo(3) would say of a numeric host and service, for which nobody needs to be asked; nothing for others.
/// Throws: ResolveError - the address is not of options.family.
std::optional<std::vector<AddressInfo>> numeric_addresses(const std::string& host, const std::string& service,
                                                          const AddressInfoOptions& options);
/// Blocks until the name servers have answered.  At least one address, none of them twice.
/// Throws: ResolveError, OsError.
std::vector<AddressInfo> look_up_addresses(const std::string& host, const std::string& service,
                                           const AddressInfoOptions& options);

/// As numeric_addresses(), for getnameinfo(3).
std::optional<NameInfo> numeric_names(const Address& address, int flags);
/// Blocks as look_up_addresses() does, and throws the same.
NameInfo look_up_names(const Address& address, int flags);

}  // namespace tulp::detail
