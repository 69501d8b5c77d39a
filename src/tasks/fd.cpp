#include <tulp/fd.hpp>

#include <cerrno>
#include <string>

#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "events/fd_callbacks.hpp"
#include "events/fd_waits.hpp"
#include "events/policy.hpp"
#include "tasks/dump.hpp"
#include "tasks/fd.hpp"

namespace tulp {
namespace detail {
namespace {

class ReadyPark final : public Park {
 public:
  ReadyPark(TaskControl& me, int fd, Direction direction)
      : callbacks_(me.loop().service<FdCallbacks>()), fd_(fd), direction_(direction), waiter_{me} {
    callbacks_.add_waiter(fd_, direction_, waiter_);
  }
  ReadyPark(const ReadyPark&) = delete;
  ReadyPark& operator=(const ReadyPark&) = delete;
  /// A descriptor that was closed has been forgotten, and its number may be somebody else's by now.
  ~ReadyPark() {
    if (!waiter_.was_closed) callbacks_.remove_waiter(fd_, direction_);
  }
  void undo() noexcept override {}
  std::string description() const override {
    return describe_descriptor(fd_) + " to be " + (direction_ == Direction::read ? "readable" : "writable");
  }
  bool was_closed() const noexcept { return waiter_.was_closed; }

 private:
  FdCallbacks& callbacks_;
  int fd_;
  Direction direction_;
  FdWaiter waiter_;
};

}  // namespace

void wait_until_ready(int fd, Direction direction, const char* function) {
  TaskControl& me = require_task(function);
  throw_if_cancelled();
  ReadyPark wait(me, fd, direction);
  park(wait);
  if (wait.was_closed()) throw_os_error(ECANCELED, std::string(function) + " of descriptor " + std::to_string(fd));
}

void forget_descriptor(EventLoop& loop, int fd) {
  loop.service<FdCallbacks>().forget(fd);
  loop.service<FdWaits>().forget(fd);
}

}  // namespace detail

void wait_readable(int fd) { detail::wait_until_ready(fd, Direction::read, "wait_readable"); }
void wait_writable(int fd) { detail::wait_until_ready(fd, Direction::write, "wait_writable"); }

void close(int fd) {
  if (EventLoop* loop = present_event_loop(); loop != nullptr && !loop->is_closed() && !loop->belongs_to_parent()) {
    detail::forget_descriptor(*loop, fd);
    if (loop->is_watched(fd))
      throw InvalidStateError("close: descriptor " + std::to_string(fd) + " belongs to a transport");
  }
  if (sys.close(fd) != 0 && errno != EINTR) throw_os_error(errno, "close descriptor " + std::to_string(fd));
}

}  // namespace tulp
