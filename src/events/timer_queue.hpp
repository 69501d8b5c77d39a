// TimerQueue: timers in the order in which they are due.  Floor 3, events.
#pragma once
#include <tulp/loop_core.hpp>

#include <cstdint>
#include <vector>

namespace tulp {

/// A heap with four children to a node, which keeps the entries that one step compares in one cache line.  Timers that
/// are due at the same time come out in the order in which they were pushed.
class TimerQueue {
 public:
  bool empty() const noexcept { return entries_.empty(); }
  std::size_t size() const noexcept { return entries_.size(); }
  /// When the first timer is due; the queue must not be empty.
  TimePoint next() const noexcept { return entries_.front().when; }

  void push(Timer& timer);
  void remove(Timer& timer) noexcept;
  Timer& pop() noexcept;

 private:
  struct Entry {
    TimePoint when;
    std::uint64_t order;
    Timer* timer;

    bool operator<(const Entry& other) const noexcept {
      return when != other.when ? when < other.when : order < other.order;
    }
  };
  static constexpr std::size_t arity = 4;
  void place(std::size_t position, const Entry& entry) noexcept;
  void sift_up(std::size_t position, const Entry& entry) noexcept;
  void sift_down(std::size_t position, const Entry& entry) noexcept;

  std::vector<Entry> entries_;
  std::uint64_t last_order_ = 0;
};

}  // namespace tulp
