#include "events/timer_queue.hpp"

namespace tulp {
namespace {

// A page with less than a quarter joins its neighbour if both together are half a page at most.
constexpr std::size_t quarter = TimerPage::capacity / 4;

}  // namespace

void TimerQueue::push(Timer& timer) {
  const TimerEntry entry{{timer.when().time_since_epoch().count(), last_order_ + 1}, &timer};
  if (sections_.empty()) add_section(0, entry);
  std::size_t section = section_of(entry);
  if (page_of(section).is_full()) section = make_room(section, entry);
  if (section == 0)
    page_of(0).push_in_order(entry);
  else
    page_of(section).append(entry);
  ++size_;
  ++last_order_;
}

void TimerQueue::remove(Timer& timer) noexcept {
  TimerPage& page = pages_[TimerPage::number_of_page_of(timer)];
  TimerEntry& entry = page.entry_of(timer);
  timer.position = Timer::unscheduled;
  --size_;
  if (&page == &page_of(0)) {
    page.remove_in_order(entry);
    if (page.size() > 0 || sections_.size() == 1) return;
    drop_section(0);
    page_of(0).put_in_order();
  } else {
    page.remove(entry);
    if (page.size() >= quarter) return;
    const std::size_t section = section_of(entry);
    if (page.size() == 0) return drop_section(section);
    if (section + 1 < sections_.size()) merge_with_next(section);
    if (section > 1) merge_with_next(section - 1);
  }
}

Timer& TimerQueue::pop() noexcept {
  Timer& first = *page_of(0).first().timer;
  remove(first);
  return first;
}

/// A binary search without branches that depend on `key`, which a processor could only guess.
std::size_t TimerQueue::section_of(const TimerKey& key) const noexcept {
  std::size_t found = 0;
  for (std::size_t left = sections_.size(); left > 1;) {
    const std::size_t half = left / 2;
    found = key < sections_[found + half].begin ? found : found + half;
    left -= half;
  }
  return found;
}

/// Returns the section for `key`, which had a full page and has room now.
std::size_t TimerQueue::make_room(std::size_t section, const TimerKey& key) {
  if (page_of(section).size() <= TimerPage::capacity - quarter) {
    page_of(section).compact();
    return section;
  }
  add_section(section + 1, key);
  TimerPage& page = page_of(section);
  if (page.ends_before(key)) return section + 1;  // times that rise, as those of equal limits do, fill each page
  page.compact();
  const TimerKey begin = page.move_later_half_to(page_of(section + 1));
  sections_[section + 1].begin = begin;
  if (section == 0) page.put_in_order();
  return key < begin ? section : section + 1;
}

void TimerQueue::add_section(std::size_t at, const TimerKey& begin) {
  if (free_numbers_.empty()) {
    if (free_numbers_.capacity() <= pages_.size()) free_numbers_.reserve(2 * pages_.size() + 1);  // for drop_section()
    pages_.emplace_back(pages_.size());
    free_numbers_.push_back(pages_.size() - 1);
  }
  const std::size_t number = free_numbers_.back();
  pages_[number].allocate();
  sections_.insert(sections_.begin() + static_cast<std::ptrdiff_t>(at), Section{begin, number});
  free_numbers_.pop_back();
}

/// Its page is empty.  One such page is kept, lest one at the edge go to the system and come back again and again.
void TimerQueue::drop_section(std::size_t at) noexcept {
  if (!free_numbers_.empty()) pages_[free_numbers_.back()].deallocate();
  free_numbers_.push_back(sections_[at].page_number);
  sections_.erase(sections_.begin() + static_cast<std::ptrdiff_t>(at));
}

void TimerQueue::merge_with_next(std::size_t section) noexcept {
  TimerPage& page = page_of(section);
  TimerPage& next = page_of(section + 1);
  if (page.size() + next.size() > TimerPage::capacity / 2) return;
  next.move_all_to(page);
  drop_section(section + 1);
}

}  // namespace tulp
