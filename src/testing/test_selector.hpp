// TestSelector: another selector, whose idle waits let time jump and whose reports a seed disturbs.  Floor 9, testing.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "selector/selector.hpp"
#include "testing/test_hooks.hpp"

namespace tulp::testing {

/// With edges, what a disturbed system call leaves behind in the kernel would never be reported again.  So the call says
/// so, and before the next wait the descriptor is taken out of the selector and put back in: what is ready then is a new
/// edge, from the kernel itself.
class TestSelector final : public Selector {
 public:
  TestSelector(std::unique_ptr<Selector> selector, TestHooks& hooks) noexcept;
  ~TestSelector() override { hooks_.forget(*this); }

  bool has_edges() const noexcept override { return selector_->has_edges(); }
  tulp::detail::Ring* ring() noexcept override { return selector_->ring(); }
  std::uint64_t ring_progress() const noexcept override { return selector_->ring_progress(); }
  void push() noexcept override { selector_->push(); }
  bool start_over() override;
  void add(int fd, Interest interest, Trigger trigger, std::uint64_t token) override;
  bool modify(int fd, Interest interest, std::uint64_t token) noexcept override;
  void remove(int fd) noexcept override;
  std::size_t wait(Duration timeout, std::span<SelectorEvent> events) override;

  // For the system calls that the loop's own descriptors are used with.

  /// Whether a call on `fd` is to fail with EAGAIN.
  bool refuses(int fd);
  /// How many of `size` bytes a call on `fd` is to move at most.
  std::size_t part_of(int fd, std::size_t size);
  /// How many of `count` messages.
  unsigned some_of(int fd, unsigned count);
  void note_io() noexcept { has_done_io_ = true; }

 private:
  enum class Kind : std::uint8_t { stream, pipe, message, other };
  struct Registration {
    std::uint64_t token;
    Interest interest;
    Trigger trigger;
    Kind kind;
    /// Used through the library's own calls alone, and reported as often as one likes.
    bool may_be_disturbed() const noexcept { return trigger == Trigger::edge && kind != Kind::other; }
  };
  static Kind kind_of(int fd) noexcept;
  Registration* find_to_disturb(int fd) noexcept;
  void report_again(int fd);
  void put_back();
  std::size_t disturb(std::span<SelectorEvent> events, std::size_t count);
  std::size_t wait_idle(Duration timeout, std::span<SelectorEvent> events);
  std::optional<std::size_t> wait_really(Duration limit, std::span<SelectorEvent> events);
  bool has_ring_gone_on() noexcept;
  bool may_be_under_way() noexcept;

  std::unique_ptr<Selector> selector_;
  TestHooks& hooks_;
  std::map<int, Registration> registrations_;  // in an order that does not change from run to run
  std::vector<int> to_put_back_;
  Disturbance::Repeated empty_waits_{3};
  Disturbance::Repeated false_reports_{3};
  bool has_done_io_ = false;  // since time jumped last
  std::uint64_t ring_progress_ = 0;
};

}  // namespace tulp::testing
