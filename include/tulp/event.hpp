// Event: something has happened, or not yet.  Floor 6, sync.
#pragma once
#include <tulp/detail/wait_queue.hpp>

namespace tulp {

/// A flag, not set at first, that any number of tasks can wait for.  It belongs to one thread, and has to outlive those
/// who wait for it.
/// Source: asyncio.Event.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Always true, as in asyncio.
  /// Parks: until the event is set.  Who waits when it is set returns, even if it is cleared before his turn comes.
  /// Cancel: the event is as it was.
  /// Throws: InvalidStateError - outside a task.
  bool wait();
  /// Wakes all who wait, in the order in which they came.  Works outside a task, too.
  void set() noexcept;
  void clear() noexcept { is_set_ = false; }
  bool is_set() const noexcept { return is_set_; }

 private:
  bool is_set_ = false;
  detail::WaitQueue waiting_;  // empty while it is set
};

}  // namespace tulp
