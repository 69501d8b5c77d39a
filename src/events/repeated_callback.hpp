// RepeatedCallback: a callback that may be queued many times, and removed at any moment.  Floor 3, events.
#pragma once
#include <tulp/detail/context.hpp>
#include <tulp/detail/ref.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/event_loop.hpp>

namespace tulp::detail {

/// Owned by whoever watches for its event.  Removed while it stands in the ready queue, it belongs to the queue, which
/// drops it in its turn.
class RepeatedCallback final : public RefCounted, public Runnable {
 public:
  RepeatedCallback(EventLoop& loop, Origin origin, UniqueFunction<void()> function)
      : loop_(loop), origin_(std::move(origin)), function_(std::move(function)) {}

  void run() noexcept override;
  void discard() noexcept override;
  /// Calls the callback, unless it was removed.
  void call() noexcept;
  Origin origin() const override { return origin_; }
  /// Takes the owner's reference.  The callback does not run any more, and what it holds is destroyed, at the latest when
  /// it returns.
  void remove() noexcept;

 private:
  EventLoop& loop_;
  Origin origin_;
  UniqueFunction<void()> function_;
  Ref<Context> context_ = capture_context();
  bool is_removed_ = false;
  bool is_running_ = false;
};

}  // namespace tulp::detail
