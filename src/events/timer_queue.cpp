#include "events/timer_queue.hpp"

#include <algorithm>

namespace tulp {

void TimerQueue::push(Timer& timer) {
  entries_.emplace_back();
  sift_up(entries_.size() - 1, {timer.when(), ++last_order_, &timer});
}

Timer& TimerQueue::pop() noexcept {
  Timer& first = *entries_.front().timer;
  remove(first);
  return first;
}

void TimerQueue::remove(Timer& timer) noexcept {
  const std::size_t hole = timer.position;
  timer.position = Timer::unscheduled;
  const Entry last = entries_.back();
  entries_.pop_back();
  if (hole == entries_.size()) return;
  if (hole > 0 && last < entries_[(hole - 1) / arity])
    sift_up(hole, last);
  else
    sift_down(hole, last);
}

void TimerQueue::place(std::size_t position, const Entry& entry) noexcept {
  entries_[position] = entry;
  entry.timer->position = position;
}

void TimerQueue::sift_up(std::size_t position, const Entry& entry) noexcept {
  while (position > 0) {
    const std::size_t parent = (position - 1) / arity;
    if (!(entry < entries_[parent])) break;
    place(position, entries_[parent]);
    position = parent;
  }
  place(position, entry);
}

void TimerQueue::sift_down(std::size_t position, const Entry& entry) noexcept {
  for (;;) {
    const std::size_t first_child = position * arity + 1;
    if (first_child >= entries_.size()) break;
    const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(first_child);
    const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(std::min(first_child + arity, entries_.size()));
    const auto least = std::min_element(begin, end);
    if (!(*least < entry)) break;
    place(position, *least);
    position = static_cast<std::size_t>(least - entries_.begin());
  }
  place(position, entry);
}

}  // namespace tulp
