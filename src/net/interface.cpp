#include "net/interface.hpp"

#include <net/if.h>

#include <algorithm>

namespace tulp::detail {

std::uint32_t interface_number(const std::string& name) noexcept {
  if (const unsigned number = ::if_nametoindex(name.c_str())) return number;
  const bool is_number = !name.empty() && name.size() < 10 &&
                         std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
  return is_number ? static_cast<std::uint32_t>(std::stoul(name)) : 0;
}

}  // namespace tulp::detail
