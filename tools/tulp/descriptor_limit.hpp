// raise_descriptor_limit: for commands that hold many connections.
#pragma once
#include <sys/resource.h>

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

}  // namespace tool
