// How a time limit is named in a message.  Floor 5, tasks.
#pragma once
#include <tulp/duration.hpp>

#include <string>

namespace tulp::detail {

/// "1.5 s".
std::string in_seconds(Duration limit);

}  // namespace tulp::detail
