#include <tulp/posix.hpp>

#include <cerrno>

#include "posix/blocking_call.hpp"
#include "posix/file.hpp"
#include "posix/moment.hpp"

namespace tulp {
namespace detail {
namespace {

/// Until all has been sent, or the file has ended.  What is not in memory of it is read meanwhile, as by sendfile(2).
ssize_t sendfile_in(TaskControl& me, int to, int from, off_t* offset, size_t size) {
  BlockingCall call(me, "sendfile", to, Direction::write, SO_SNDTIMEO);
  for (size_t done = 0;;) {
    const auto moment = while_non_blocking(to, [&] { return sys.sendfile(to, from, offset, size - done); });
    if (moment.result > 0) {
      done += static_cast<size_t>(moment.result);
      if (done < size) call.note_progress();
    }
    const bool has_failed = moment.result < 0 && errno != EINTR;
    const bool is_full = has_failed && is_blocked(errno) && !moment.is_non_blocking;
    if (is_full && unless_begun(me, done > 0, [&]() -> ssize_t { return call.wait() ? 0 : -1; }) == 0) continue;
    if (has_failed) return done > 0 ? static_cast<ssize_t>(done) : -1;
    if (moment.result == 0 || done == size) return static_cast<ssize_t>(done);
  }
}

}  // namespace
}  // namespace detail

ssize_t posix::sendfile(int to, int from, off_t* offset, size_t size) {
  return detail::park_or_block(
      "sendfile", [&] { return sys.sendfile(to, from, offset, size); },
      [&](detail::TaskControl& me) { return detail::sendfile_in(me, to, from, offset, size); });
}

}  // namespace tulp
