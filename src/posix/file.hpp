// Reading and writing what is not a socket.  Floor 8, posix.
#pragma once
#include <tulp/detail/task_control.hpp>

#include "posix/views.hpp"

namespace tulp::detail {

/// As readv(2) and writev(2), in a task.
ssize_t read_file(TaskControl& me, const char* function, int fd, Views views);
ssize_t write_file(TaskControl& me, const char* function, int fd, Views views);

/// As `body()`, but if a part of the call is done already, a cancellation waits for the next park, and the result is -1.
template <class Body>
ssize_t unless_begun(TaskControl& me, bool has_begun, Body body) {
  if (!has_begun) return body();
  try {
    return body();
  } catch (const CancelledError&) {
    me.cancel_at_next_park();
    return -1;
  }
}

}  // namespace tulp::detail
