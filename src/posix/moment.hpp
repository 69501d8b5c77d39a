// Moment: a socket that is non-blocking for one call.  Floor 8, posix.
//
// connect(2), accept(2) and sendfile(2) have no flag as MSG_DONTWAIT is for the others.  The flag belongs to the open file,
// so another process that shares it may see it, for as long as the call takes, which does not wait.
#pragma once
#include <fcntl.h>

#include <cerrno>
#include <mutex>

#include "base/forkable_mutex.hpp"
#include "base/sys.hpp"

namespace tulp::detail {

/// While it is held, no other thread's moment is taken for what an owner has asked for.
ForkableMutex& moments();

template <class Result>
struct Moment {
  Result result;
  bool is_non_blocking;  // by its owner's will
};

/// Calls `body()`, which does not wait.
template <class Body>
auto while_non_blocking(int fd, Body body) -> Moment<decltype(body())> {
  const std::lock_guard lock(moments());
  const int flags = sys.fcntl(fd, F_GETFL, 0);
  if (flags < 0) return {-1, false};
  if ((flags & O_NONBLOCK) != 0) return {body(), true};
  if (sys.fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return {-1, false};
  const auto result = body();
  const int error = errno;
  sys.fcntl(fd, F_SETFL, flags);
  errno = error;
  return {result, false};
}

}  // namespace tulp::detail
