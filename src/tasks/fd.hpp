// Waiting for a descriptor of the user's.  Floor 5, tasks.
#pragma once
#include <tulp/loop_core.hpp>

namespace tulp::detail {

/// As wait_readable() and wait_writable(), in the name of `function`.
void wait_until_ready(int fd, Direction direction, const char* function);

}  // namespace tulp::detail
