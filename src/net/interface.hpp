// Network interfaces by name or number.  Floor 6, net.
#pragma once
#include <cstdint>
#include <string>

namespace tulp::detail {

/// What the system calls `name`, which may be a number itself; 0 if there is no such interface.
std::uint32_t interface_number(const std::string& name) noexcept;

}  // namespace tulp::detail
