// FlowQueue: tasks of any loop, and threads, that wait for the same thing, first in, first out.  Floor 6, sync.
#pragma once
#include <mutex>

namespace tulp::detail {

class FlowWait;

/// The line of those who wait, and what guards it together with the state that it belongs to.  Nobody parks or blocks while
/// he holds the guard.  Can be made before main().  Thread: any.
class FlowQueue {
 public:
  constexpr FlowQueue() noexcept = default;
  FlowQueue(const FlowQueue&) = delete;
  FlowQueue& operator=(const FlowQueue&) = delete;

  std::mutex& guard() noexcept { return guard_; }

  // With the guard held.

  bool empty() const noexcept { return first_ == nullptr; }
  void push(FlowWait& wait) noexcept;
  /// The one that has waited longest, or null; who takes one off has to wake it.
  FlowWait* pop() noexcept;
  /// False if it was taken off before.
  bool remove(FlowWait& wait) noexcept;

  // Without.

  void wake_one() noexcept;
  /// Those who wait now.
  void wake_all() noexcept;

 private:
  std::mutex guard_;
  FlowWait* first_ = nullptr;
  FlowWait* last_ = nullptr;
};

}  // namespace tulp::detail
