// Locks of files.  Nobody is told when one is given up, and a thread that waited for it could not be called back: so it is
// asked for again and again, at first after a millisecond.
#include <tulp/posix.hpp>

#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "posix/blocking_call.hpp"

namespace tulp {
namespace detail {
namespace {

template <class Try>
int lock_in(Try try_lock) {
  for (RetryPause pause;; pause.wait()) {
    const int result = retry_on_eintr(try_lock);
    if (result == 0 || (!is_blocked(errno) && errno != EACCES)) return result;
    throw_if_cancelled();
  }
}

}  // namespace
}  // namespace detail

int posix::flock(int fd, int operation) {
  const auto plain = [&] { return sys.flock(fd, operation); };
  if ((operation & (LOCK_NB | LOCK_UN)) != 0) return plain();
  return detail::park_or_block("flock", plain, [&](detail::TaskControl&) {
    return detail::lock_in([&] { return sys.flock(fd, operation | LOCK_NB); });
  });
}

int posix::lockf(int fd, int command, off_t size) {
  const auto plain = [&] { return sys.lockf(fd, command, size); };
  if (command != F_LOCK) return plain();
  return detail::park_or_block("lockf", plain, [&](detail::TaskControl&) {
    return detail::lock_in([&] { return sys.lockf(fd, F_TLOCK, size); });
  });
}

}  // namespace tulp
