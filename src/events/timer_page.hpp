// TimerPage: some hundred timers, in order or not.  Floor 3, events.
#pragma once
#include <tulp/loop_core.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/slab.hpp"
#include "base/slab_pages.hpp"

namespace tulp {

/// When a timer is due, and how many were pushed before it.
struct TimerKey {
  TimePoint::rep when;
  std::uint64_t order;
  bool operator<(const TimerKey& other) const noexcept {
    return when != other.when ? when < other.when : order < other.order;
  }
  bool operator==(const TimerKey& other) const noexcept = default;
};

/// A timer and what it is compared by, so that comparing touches no timer.  Null: a hole, where a timer was removed.
struct TimerEntry : TimerKey {
  Timer* timer;
};

/// Entries with holes, in no order; from put_in_order() on the first one is known, for as long as only the functions for that
/// are called.  Timer::position tells the page, by its number, and the entry.
class alignas(64) TimerPage {
 public:
  static constexpr std::size_t capacity = detail::Slab::size_bytes / sizeof(TimerEntry);

  explicit TimerPage(std::size_t number) noexcept : first_position_(number * positions) {}
  /// The page has no memory yet.  Throws: std::bad_alloc.
  void allocate() { entries_.reset(static_cast<TimerEntry*>(detail::SlabPages::take_undivided())); }
  /// The page is empty.
  void deallocate() noexcept { entries_.reset(); }

  static std::size_t number_of_page_of(const Timer& timer) noexcept { return timer.position / positions; }
  TimerEntry& entry_of(const Timer& timer) noexcept { return entries_[timer.position % positions]; }

  /// How many timers it holds.
  std::size_t size() const noexcept { return size_; }
  /// Whether there is no room; if some of it is holes, compact() helps.
  bool is_full() const noexcept { return end_ == capacity; }
  /// Whether all of it comes before `key`.  May say no where that is so, after a timer was removed.
  bool ends_before(const TimerKey& key) const noexcept { return end_ == 0 || latest_ < key; }
  /// Nothing comes after it.  The page is not empty.
  const TimerKey& latest() const noexcept { return latest_; }
  /// One of its keys; of a page with few holes, numbers in turn tell many different ones.  The page is not empty.
  const TimerKey& sample(std::size_t number) const noexcept;
  /// With holes.
  std::span<TimerEntry> entries() noexcept { return {begin(), end_}; }
  /// The timers are the next to be touched, and lie anywhere: all come into the cache at once, not one after the other.
  void fetch_timers() noexcept;

  /// The page is not full.
  void append(const TimerEntry& entry) noexcept;
  void remove(TimerEntry& entry) noexcept;
  void compact() noexcept;
  /// Moves what comes later to `other`, which is empty, and returns the first key there: half of it if the page is sorted,
  /// as much as a sample tells if not.  Leaves neither in any order.  The page has no holes, and more than one timer.
  TimerKey move_later_half_to(TimerPage& other) noexcept;
  /// Moves everything to `other`, which has the room.
  void move_all_to(TimerPage& other) noexcept;
  /// Moves and exchanges until nothing in `other` comes before anything here, and either this page is full or the other one
  /// empty.  Leaves neither in any order, nor with holes.
  void take_earlier_from(TimerPage& other) noexcept;

  // In order: the entries stay as they are if they came sorted, as those of equal time limits do, and are made a heap
  // without holes if not.

  void put_in_order() noexcept;
  const TimerEntry& first() const noexcept { return entries_[first_]; }
  void push_in_order(const TimerEntry& entry) noexcept;
  void remove_in_order(TimerEntry& entry) noexcept;

 private:
  static constexpr std::size_t positions = std::bit_ceil(capacity);
  static constexpr std::size_t arity = 4;  // children of a node: what one step compares lies in two cache lines

  struct GiveBack {
    void operator()(TimerEntry* entries) const noexcept { detail::SlabPages::give_undivided(entries); }
  };

  TimerEntry* begin() noexcept { return entries_.get(); }
  TimerEntry* end() noexcept { return begin() + end_; }
  bool is_sorted_with(const TimerKey& key) const noexcept { return end_ == 0 || (is_sorted_ && latest_ < key); }
  void see(const TimerKey& key) noexcept {
    if (ends_before(key)) latest_ = key;
  }
  void place(std::size_t index, const TimerEntry& entry) noexcept {
    entries_[index] = entry;
    entry.timer->position = first_position_ + index;
  }
  TimerKey likely_median() const noexcept;
  std::size_t part_at(const TimerKey& key) noexcept;
  void make_heap() noexcept;
  void push_heap(const TimerEntry& entry) noexcept;
  void remove_from_heap(TimerEntry& entry) noexcept;
  std::size_t least_child(std::size_t first_child) noexcept;
  void sift_up(std::size_t index, const TimerEntry& entry) noexcept;
  void sift_down(std::size_t index, const TimerEntry& entry) noexcept;

  std::size_t first_position_;
  std::size_t end_ = 0;                              // entries in use, holes too
  std::size_t size_ = 0;                             // timers
  std::size_t first_ = 0;                            // in order: what lies before it is holes
  bool is_sorted_ = true;                            // says nothing while the page is empty
  TimerKey latest_;                                  // nothing comes after it, unless the page is empty
  std::unique_ptr<TimerEntry[], GiveBack> entries_;  // not in here: pages lie side by side, in the cache
};

}  // namespace tulp
