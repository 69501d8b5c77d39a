// TestHooks: the time of a test loop, and what its seed decides.  Floor 9, testing.
#pragma once
#include <tulp/testing/test_loop.hpp>

#include "loop/loop_hooks.hpp"
#include "testing/disturbance.hpp"

namespace tulp::testing {

class TestSelector;

class TestHooks final : public LoopHooks {
 public:
  explicit TestHooks(const TestOptions& options);

  std::unique_ptr<Selector> around(std::unique_ptr<Selector> selector) override;
  TimePoint now() const noexcept override;
  unsigned batches_before_poll() noexcept override;
  bool lets_posts_in() noexcept override;

  const TestOptions& options() const noexcept { return options_; }
  /// Null without a seed.
  Disturbance* disturbance() noexcept { return disturbance_ ? &*disturbance_ : nullptr; }
  std::optional<std::uint64_t> seed() const;
  void attach(EventLoop& loop) noexcept { loop_ = &loop; }
  /// The loop's; null when that is closed.
  TestSelector* selector() const noexcept { return selector_; }
  void forget(TestSelector& selector) noexcept {
    if (selector_ == &selector) selector_ = nullptr;  // else the loop has changed over to a new one
  }

  /// Whether somebody outside the loop is at work for it.
  bool is_held() const noexcept { return loop_->is_expecting_post(); }

  /// Nothing is ready, and the next timer is due in `delay`.  Moves the clock as far as it may go; false if there is no
  /// timer and nowhere to go.
  bool jump(Duration delay) noexcept;
  /// The clock alone.
  void move_clock(Duration delay) noexcept { now_ = after(now_, delay); }
  /// While one lives, the clock jumps no further than to `horizon`, and the loop stops when it is there.
  class Advance {
   public:
    Advance(TestHooks& hooks, TimePoint horizon) noexcept : hooks_(hooks) { hooks_.horizon_ = horizon; }
    Advance(const Advance&) = delete;
    Advance& operator=(const Advance&) = delete;
    ~Advance() { hooks_.horizon_.reset(); }
    bool has_arrived() const noexcept { return !hooks_.horizon_; }

   private:
    TestHooks& hooks_;
  };

  [[noreturn]] void throw_deadlock() const;

 private:
  const TestOptions options_;
  std::optional<Disturbance> disturbance_;
  Disturbance::Repeated posts_kept_out_{3};
  TimePoint now_ = TimePoint(std::chrono::hours(1));
  std::optional<TimePoint> horizon_;
  EventLoop* loop_ = nullptr;
  TestSelector* selector_ = nullptr;
};

/// The hooks of `loop`.  Throws: InvalidStateError - it is no test loop.
TestHooks& hooks_of(const EventLoop& loop);
/// The selector of the test loop that runs in this thread, or null.
TestSelector* running_test_selector() noexcept;

}  // namespace tulp::testing
