#include "events/timer_page.hpp"

#include <algorithm>
#include <utility>

namespace tulp {

void TimerPage::allocate() {
  if (entries_ == nullptr) entries_ = std::make_unique_for_overwrite<TimerEntry[]>(capacity);
}

void TimerPage::append(const TimerEntry& entry) noexcept {
  is_sorted_ = is_sorted_with(entry);
  see(entry);
  ++size_;
  place(end_++, entry);
}

void TimerPage::remove(TimerEntry& entry) noexcept {
  entry.timer = nullptr;
  if (--size_ == 0) end_ = first_ = 0;
}

void TimerPage::compact() noexcept {
  if (size_ == end_) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < end_; ++i)
    if (entries_[i].timer != nullptr) place(kept++, entries_[i]);
  end_ = kept;
  first_ = 0;
}

TimerKey TimerPage::move_later_half_to(TimerPage& other) noexcept {
  TimerEntry* const half = begin() + end_ / 2;
  if (!is_sorted_) std::nth_element(begin(), half, end());
  const TimerKey begin_of_other = *half;
  std::for_each(half, end(), [&](const TimerEntry& entry) { other.append(entry); });
  end_ = size_ = first_ = 0;
  std::for_each(begin(), half, [&](const TimerEntry& entry) { append(entry); });
  return begin_of_other;
}

void TimerPage::move_all_to(TimerPage& other) noexcept {
  other.compact();
  std::for_each(begin(), end(), [&](const TimerEntry& entry) {
    if (entry.timer != nullptr) other.append(entry);
  });
  end_ = size_ = first_ = 0;
}

void TimerPage::put_in_order() noexcept {
  compact();
  // These timers are the next to be touched, and lie anywhere: fetch them all at once, not one after the other.
  std::for_each(begin(), end(), [](const TimerEntry& entry) { __builtin_prefetch(entry.timer, 1); });
  if (!is_sorted_) make_heap();
}

void TimerPage::push_in_order(const TimerEntry& entry) noexcept {
  if (is_sorted_with(entry)) return append(entry);
  if (std::exchange(is_sorted_, false)) {
    compact();
    make_heap();
  }
  push_heap(entry);
}

void TimerPage::remove_in_order(TimerEntry& entry) noexcept {
  if (!is_sorted_) return remove_from_heap(entry);
  remove(entry);
  while (first_ < end_ && entries_[first_].timer == nullptr) ++first_;
}

void TimerPage::make_heap() noexcept {
  for (std::size_t i = (end_ + arity - 2) / arity; i-- > 0;) sift_down(i, TimerEntry(entries_[i]));
}

void TimerPage::push_heap(const TimerEntry& entry) noexcept {
  see(entry);
  ++size_;
  sift_up(end_++, entry);
}

void TimerPage::remove_from_heap(TimerEntry& entry) noexcept {
  const auto hole = static_cast<std::size_t>(&entry - begin());
  const TimerEntry last = entries_[--end_];
  --size_;
  if (hole == end_) return;
  if (hole > 0 && last < entries_[(hole - 1) / arity])
    sift_up(hole, last);
  else
    sift_down(hole, last);
}

void TimerPage::sift_up(std::size_t index, const TimerEntry& entry) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / arity;
    if (!(entry < entries_[parent])) break;
    place(index, entries_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerPage::sift_down(std::size_t index, const TimerEntry& entry) noexcept {
  for (std::size_t child; (child = index * arity + 1) < end_;) {
    const std::size_t least = least_child(child);
    if (!(entries_[least] < entry)) break;
    place(index, entries_[least]);
    index = least;
  }
  place(index, entry);
}

/// Two pairs, and their winners: written so that no branch depends on what a processor can only guess.
std::size_t TimerPage::least_child(std::size_t first_child) noexcept {
  TimerEntry* const child = begin() + first_child;
  if (first_child + arity > end_) return first_child + static_cast<std::size_t>(std::min_element(child, end()) - child);
  const std::size_t one = child[1] < child[0] ? 1 : 0;
  const std::size_t other = child[3] < child[2] ? 3 : 2;
  return first_child + (child[other] < child[one] ? other : one);
}

}  // namespace tulp
