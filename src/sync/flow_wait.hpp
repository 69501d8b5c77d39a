// FlowWait: how a task of some loop, or a thread, waits in a FlowQueue.  Floor 6, sync.
#pragma once
#include <tulp/detail/flow_queue.hpp>
#include <tulp/detail/task_control.hpp>
#include <tulp/duration.hpp>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

namespace tulp::detail {

/// On the stack of whoever waits.  In a task it parks; on a thread without a loop it blocks.
///
/// Who wakes a task of another thread's loop posts this to that loop, which queues the task.  From the moment at which it
/// has left the line until then nobody may go on, or this would be gone: a cancellation comes at the next park, and a limit
/// that passes in between changes nothing.
class FlowWait final : private Park, private Runnable {
 public:
  enum class Cancel : std::uint8_t { never, leaves_line };

  /// `function` and `what` are for errors and reports: "mutex::lock", "the mutex".
  /// Throws: InvalidStateError - a callback of a loop, or a coroutine, which must not wait, or inside a no_park_scope.
  FlowWait(FlowQueue& queue, const char* function, const char* what, Cancel cancel);
  FlowWait(const FlowWait&) = delete;
  FlowWait& operator=(const FlowWait&) = delete;

  /// After it has been put in line.  False if nobody has woken it for so long; it has left the line then.
  /// Throws: CancelledError - it has left the line.
  bool wait(Duration limit = Duration::max());
  /// Called once, by whoever has taken it off the line, without the guard.  It may be gone when this returns.
  void wake() noexcept;

 private:
  friend class FlowQueue;

  bool park_for(Duration limit);
  bool block_for(Duration limit);
  void undo() noexcept override {}  // can_be_left() has done it
  bool can_be_left() noexcept override;
  std::string description() const override;
  void run() noexcept override;

  FlowQueue& queue_;
  const char* what_;
  Cancel cancel_;
  TaskControl* task_;               // null: a thread
  std::shared_ptr<LoopLink> link_;  // of the task's loop
  bool is_woken_ = false;           // read and written by the task's thread; of a thread, under its mutex
  std::mutex mutex_;                // of a thread
  std::condition_variable condition_;
  FlowWait* next_ = nullptr;
  FlowWait* previous_ = nullptr;
  bool is_in_line_ = false;  // under the queue's guard
};

}  // namespace tulp::detail
