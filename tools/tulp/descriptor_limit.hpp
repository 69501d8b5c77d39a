// raise_descriptor_limit: for commands that hold many connections, and how many those may be.
#pragma once
#include <sys/resource.h>

#include <algorithm>
#include <cstddef>

namespace tool {

/// As many open files as the process may have.  Debian lets it have 1024 unless it asks.  How many those are.
inline std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

/// Each of which holds a descriptor, and perhaps another one, of a file or of a connection that goes on from it.
inline std::size_t possible_connection_count() { return std::max<std::size_t>(raise_descriptor_limit() / 2, 33) - 32; }

}  // namespace tool
