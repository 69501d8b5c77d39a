#include "events/timer_page.hpp"

#include <tulp/detail/assert.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace tulp {

void TimerPage::append(const TimerEntry& entry) noexcept {
  TULP_ASSERT(!is_full());
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
  fetch_timers();
  const TimerKey begin_of_other = is_sorted_ ? entries_[end_ / 2] : likely_median();
  const std::size_t kept = is_sorted_ ? end_ / 2 : part_at(begin_of_other);
  std::for_each(begin() + kept, end(), [&](const TimerEntry& entry) { other.append(entry); });
  end_ = size_ = kept;
  latest_ = *std::max_element(begin(), end());
  return begin_of_other;
}

const TimerKey& TimerPage::sample(std::size_t number) const noexcept {
  std::size_t index = number * 0x9E3779B97F4A7C15 % end_;  // the golden ratio's multiples lie far from each other
  while (entries_[index].timer == nullptr) index = (index + 1) % end_;
  return entries_[index];
}

/// One of the page's keys, and not the first of them.
TimerKey TimerPage::likely_median() const noexcept {
  std::array<TimerKey, 31> sample;
  const std::size_t count = std::min(sample.size(), end_);
  for (std::size_t i = 0; i < count; ++i) sample[i] = entries_[i * end_ / count];
  const auto median = sample.begin() + count / 2;
  std::nth_element(sample.begin(), median, sample.begin() + count);
  return *median;
}

/// Moves what comes before `key` to the front, and says how much that is.
std::size_t TimerPage::part_at(const TimerKey& key) noexcept {
  std::size_t front = 0;
  std::size_t back = end_;
  for (;;) {
    while (front < back && entries_[front] < key) ++front;
    while (front < back && !(entries_[back - 1] < key)) --back;
    if (front == back) return front;
    const TimerEntry later = entries_[front];
    place(front++, entries_[--back]);
    entries_[back] = later;
  }
}

void TimerPage::move_all_to(TimerPage& other) noexcept {
  other.compact();
  std::for_each(begin(), end(), [&](const TimerEntry& entry) {
    if (entry.timer != nullptr) other.append(entry);
  });
  end_ = size_ = first_ = 0;
}

void TimerPage::take_earlier_from(TimerPage& other) noexcept {
  compact();
  other.compact();
  while (!is_full() && other.size_ > 0) {
    append(other.entries_[--other.end_]);
    --other.size_;
  }
  if (other.size_ == 0) return;
  std::make_heap(begin(), end());  // of which the latest is first
  std::for_each(other.begin(), other.end(), [&](TimerEntry& entry) {
    if (!(entry < entries_[0])) return;
    std::pop_heap(begin(), end());
    std::swap(entries_[end_ - 1], entry);
    std::push_heap(begin(), end());
    other.see(entry);
    other.place(static_cast<std::size_t>(&entry - other.begin()), entry);
  });
  is_sorted_ = other.is_sorted_ = false;
  latest_ = entries_[0];
  for (std::size_t i = 0; i < end_; ++i) place(i, entries_[i]);
}

void TimerPage::put_in_order() noexcept {
  compact();
  fetch_timers();
  if (!is_sorted_) make_heap();
}

void TimerPage::fetch_timers() noexcept {
  std::for_each(begin(), end(), [](const TimerEntry& entry) { __builtin_prefetch(entry.timer, 1); });
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
  TULP_ASSERT(!is_full());
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
