// BlockingCall: a call of POSIX's in a task, from its first try to its end.  Floor 8, posix.
#pragma once
#include <tulp/detail/task_control.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "net/retry_pause.hpp"

namespace tulp::detail {

/// The running task, which the call may park; null where it is to be the plain one.
/// Throws: InvalidStateError - inside a no_park_scope.
TaskControl* task_to_park(const char* function);

/// What `body(task)` returns, or `plain()` outside a task.  A success leaves errno alone, and an OsError becomes one.
template <class Plain, class Body>
auto park_or_block(const char* function, Plain plain, Body body) -> decltype(plain()) {
  TaskControl* const me = task_to_park(function);
  if (me == nullptr) return plain();
  const int error = errno;
  try {
    begin_operation(*me);
    const auto result = body(*me);
    if (result >= 0) errno = error;
    return result;
  } catch (const std::system_error& failure) {
    errno = failure.code().value();
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  }
  return -1;
}

class BlockingCall {
 public:
  /// `limit_option`: SO_RCVTIMEO or SO_SNDTIMEO.
  BlockingCall(TaskControl& me, const char* function, int fd, Direction direction, int limit_option) noexcept
      : me_(me), function_(function), fd_(fd), direction_(direction), limit_option_(limit_option) {}

  /// For a call that has just said EAGAIN.  Parks until it is worth another try.  False if it has to fail: errno says why.
  bool wait();
  /// As wait(), where no event tells when: after a short while.
  bool pause();
  /// After something has been sent: a Unix socket's limit holds for each piece.
  void note_progress();
  /// What the limit makes of the call, if not EAGAIN.
  void set_limit_error(int error) noexcept { limit_error_ = error; }
  /// Whether the descriptor's owner has set O_NONBLOCK.
  bool is_non_blocking() noexcept;

 private:
  bool may_wait();
  void start_limit();

  TaskControl& me_;
  const char* function_;
  int fd_;
  Direction direction_;
  int limit_option_;
  int limit_error_ = EAGAIN;
  std::optional<bool> is_non_blocking_;
  std::optional<TimePoint> end_;
  bool is_late_ = false;
  int fruitless_waits_ = 0;
  RetryPause pause_;
};

/// Calls `attempt` until it succeeds, or fails for another reason than that it would have to wait.
template <class Attempt>
auto call_until_done(BlockingCall& call, Attempt attempt) -> decltype(attempt()) {
  for (;;) {
    const auto result = retry_on_eintr(attempt);
    if (result >= 0 || !is_blocked(errno) || !call.wait()) return result;
  }
}

/// Whether the next call would take an error away.
bool has_error(int sock) noexcept;
/// Whether a socket has broken, and has nothing more to read: the next call would take the error away.
bool is_broken(int sock) noexcept;

}  // namespace tulp::detail
