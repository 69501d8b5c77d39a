// TimerQueue: timers in the order in which they are due.  Floor 3, events.
#pragma once
#include <tulp/loop_core.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "events/timer_pages.hpp"

namespace tulp {

/// Timers that are due at the same time come out in the order in which they were pushed.
///
/// They lie in sections: a section has what is due from its begin to that of the next one.  The first is a page in order.
/// The others are lists of pages in no order, of any length, because most timers are limits that are stopped long before
/// they are due.  A list that is too long for its place is divided into sections, a page for each hundred pushes and
/// removals, so that nothing ever waits for a million timers to be sorted.
class TimerQueue {
 public:
  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  /// When the first timer is due; the queue must not be empty.
  TimePoint next() const noexcept { return TimePoint(TimePoint::duration(first().when)); }

  /// A limit for has_due(): what is due by then, of what has been pushed so far.
  TimerKey due_by(TimePoint time) const noexcept { return {time.time_since_epoch().count(), last_order_}; }
  bool has_due(const TimerKey& limit) const noexcept {
    return !empty() && first().when <= limit.when && first().order <= limit.order;
  }

  /// Throws: std::bad_alloc.
  void push(Timer& timer);
  void remove(Timer& timer) noexcept;
  /// Removes the first timer; the queue must not be empty.
  Timer& pop() noexcept;

  /// How many pages are in use.  What is removed gives its memory back: two neighbours are a quarter full at least.
  std::size_t page_count() const noexcept { return pages_.count(); }

 private:
  struct Section {
    TimerKey begin;  // the first section begins with the world
    TimerPageList pages;
  };

  const TimerEntry& first() const noexcept { return pages_[sections_[0].pages.last].first(); }
  TimerPage& first_page() noexcept { return pages_[sections_[0].pages.last]; }
  std::size_t section_of(const TimerKey& key) const noexcept;

  void insert(const TimerEntry& entry);
  void insert_in_order(const TimerEntry& entry);
  TimerPage& make_room(std::size_t section, const TimerKey& key);
  bool ends_before(const TimerPageList& list, const TimerKey& key) noexcept;
  TimerPage& add_section(std::size_t at, const TimerKey& begin);

  void tidy(std::size_t page_number, TimerKey removed) noexcept;
  void join_neighbours(TimerPageList& list, std::size_t page_number) noexcept;
  void join_with_next(std::size_t section) noexcept;
  void erase_section(std::size_t section) noexcept {
    sections_.erase(sections_.begin() + static_cast<std::ptrdiff_t>(section));
  }
  void advance() noexcept;
  void move_earliest_to_front() noexcept;

  bool is_being_divided(std::size_t section) const noexcept {
    return undivided_.count > 0 && sections_[section].begin == undivided_begin_;
  }
  void count_call() noexcept;
  void divide_some() noexcept;
  std::size_t section_to_divide() const noexcept;
  void begin_dividing();
  std::vector<TimerKey> samples_of(const TimerPageList& list) const;
  void divide_page();
  void finish_dividing() noexcept;

  std::vector<Section> sections_;
  TimerPages pages_;
  TimerPageList undivided_;  // of the section that is being divided: what belongs to it and to those behind it; marked
  TimerKey undivided_begin_{};  // of that section, which stays until all is divided
  std::size_t size_ = 0;
  std::uint64_t last_order_ = 0;
  unsigned call_count_ = 0;
};

}  // namespace tulp
