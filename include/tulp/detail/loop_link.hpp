// LoopLink: a loop as other threads hold it.  Floor 3, events.
#pragma once
#include <mutex>

namespace tulp {
class EventLoop;
class Runnable;
}  // namespace tulp

namespace tulp::detail {

/// Outlives its loop, so that a thread that has something for the loop may come too late.  Thread: any.
class LoopLink {
 public:
  explicit LoopLink(EventLoop& loop) noexcept : loop_(&loop) {}

  /// As EventLoop::post_threadsafe(); false also if the loop does not exist any more.
  bool post(Runnable& entry) noexcept;
  /// Called by the loop when it closes.
  void cut() noexcept;

 private:
  std::mutex mutex_;
  EventLoop* loop_;  // null when it has closed
};

}  // namespace tulp::detail
