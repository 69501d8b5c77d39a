// Waiting for a descriptor of the user's.  Floor 5, tasks.
#pragma once
#include <tulp/event_loop.hpp>

namespace tulp::detail {

/// As wait_readable() and wait_writable(), in the name of `function`.
void wait_until_ready(int fd, Direction direction, const char* function);
/// A descriptor of the program's is about to be closed: wakes who waits for it, and removes callbacks, which is reported.
void forget_descriptor(EventLoop& loop, int fd);

}  // namespace tulp::detail
