// TimerQueue: timers in the order in which they are due.  Floor 3, events.
#pragma once
#include <tulp/loop_core.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "events/timer_page.hpp"

namespace tulp {

/// Timers that are due at the same time come out in the order in which they were pushed.
///
/// They lie in sections, a page each: a section has what is due from its begin to that of the next one.  Only the first is
/// in order, and the others when their turn comes, because most timers are limits that are stopped long before.  Whatever is
/// asked touches a page or two, so a million timers make none of them slow.
class TimerQueue {
 public:
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  /// When the first timer is due; the queue must not be empty.
  TimePoint next() const noexcept {
    return TimePoint(TimePoint::duration(pages_[sections_[0].page_number].first().when));
  }

  /// Throws: std::bad_alloc.
  void push(Timer& timer);
  void remove(Timer& timer) noexcept;
  /// Removes the first timer; the queue must not be empty.
  Timer& pop() noexcept;

  /// How many pages are in use.  What is removed gives its memory back: two neighbours are a quarter full at least.
  std::size_t page_count() const noexcept { return sections_.size(); }

 private:
  struct Section {
    TimerKey begin;  // the first section begins with the world
    std::size_t page_number;
  };

  TimerPage& page_of(std::size_t section) noexcept { return pages_[sections_[section].page_number]; }
  std::size_t section_of(const TimerKey& key) const noexcept;
  std::size_t make_room(std::size_t section, const TimerKey& key);
  void add_section(std::size_t at, const TimerKey& begin);
  void drop_section(std::size_t at) noexcept;
  void merge_with_next(std::size_t section) noexcept;

  std::vector<Section> sections_;
  std::vector<TimerPage> pages_;           // by number
  std::vector<std::size_t> free_numbers_;  // of pages; the last of them may have its memory still
  std::size_t size_ = 0;
  std::uint64_t last_order_ = 0;
};

}  // namespace tulp
