#include "events/timer_pages.hpp"

namespace tulp {

TimerPage& TimerPages::add_to(TimerPageList& list) {
  if (free_numbers_.empty()) {
    const std::size_t number = pages_.size();
    places_.resize(number + 1);
    if (free_numbers_.capacity() <= number) free_numbers_.reserve(2 * number + 1);  // for drop()
    pages_.emplace_back(number);
    free_numbers_.push_back(number);
  }
  const std::size_t number = free_numbers_.back();
  pages_[number].allocate();
  free_numbers_.pop_back();
  link(list, number);
  return pages_[number];
}

void TimerPages::drop(TimerPageList& list, std::size_t number) noexcept {
  unlink(list, number);
  places_[number].is_marked = false;
  pages_[number].deallocate();
  free_numbers_.push_back(number);
}

void TimerPages::move(TimerPageList& from, std::size_t number, TimerPageList& to) noexcept {
  unlink(from, number);
  link(to, number);
}

void TimerPages::move_all(TimerPageList& from, TimerPageList& to) noexcept {
  while (from.count > 0) move(from, next(from.last), to);
}

void TimerPages::mark(const TimerPageList& list, bool is_marked) noexcept {
  std::size_t number = list.last;
  for (std::size_t i = 0; i < list.count; ++i, number = next(number)) places_[number].is_marked = is_marked;
}

void TimerPages::link(TimerPageList& list, std::size_t number) noexcept {
  const std::size_t first = list.count == 0 ? number : next(list.last);
  if (list.count > 0) join(list.last, number);
  join(number, first);
  list.last = number;
  ++list.count;
}

void TimerPages::unlink(TimerPageList& list, std::size_t number) noexcept {
  join(previous(number), next(number));
  if (list.last == number) list.last = previous(number);
  --list.count;
}

void TimerPages::join(std::size_t number, std::size_t next) noexcept {
  places_[number].next = next;
  places_[next].previous = number;
}

}  // namespace tulp
