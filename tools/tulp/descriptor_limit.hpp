// raise_descriptor_limit: for commands that hold many connections.
#pragma once
#include <sys/resource.h>

namespace tool {

/// As many open files as the process may have.  Debian lets it have 1024 unless it asks.
inline void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace tool
