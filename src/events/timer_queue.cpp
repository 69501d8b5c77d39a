#include "events/timer_queue.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace tulp {
namespace {

// Two pages of which one has less than a quarter are joined if both together are half a page at most.
constexpr std::size_t quarter = TimerPage::capacity / 4;
bool should_be_one(const TimerPage& page, const TimerPage& other) noexcept {
  return page.size() + other.size() <= TimerPage::capacity / 2;
}

constexpr unsigned calls_per_divided_page = 128;
// A section that has fewer pages is not divided: when it comes to be the first, its earliest timers are looked for.
constexpr std::size_t fewest_pages_to_divide = 4;
constexpr std::size_t most_parts = 64;
constexpr std::size_t samples_per_part = 8;

}  // namespace

void TimerQueue::push(Timer& timer) {
  const TimerEntry entry{{timer.when().time_since_epoch().count(), last_order_ + 1}, &timer};
  if (sections_.empty()) add_section(0, entry);
  insert(entry);
  ++size_;
  ++last_order_;
  count_call();
}

void TimerQueue::remove(Timer& timer) noexcept {
  const std::size_t number = TimerPage::number_of_page_of(timer);
  TimerPage& page = pages_[number];
  TimerEntry& entry = page.entry_of(timer);
  timer.position = Timer::unscheduled;
  --size_;
  if (number == sections_[0].pages.last) {
    page.remove_in_order(entry);
    if (page.size() == 0) advance();
  } else {
    page.remove(entry);
    if (page.size() < quarter) tidy(number, entry);
  }
  count_call();
}

Timer& TimerQueue::pop() noexcept {
  Timer& timer = *first().timer;
  remove(timer);
  return timer;
}

/// The last one, for limits of one length; else a binary search without branches that depend on `key`, which a processor
/// could only guess.
std::size_t TimerQueue::section_of(const TimerKey& key) const noexcept {
  if (!(key < sections_.back().begin)) return sections_.size() - 1;
  std::size_t found = 0;
  for (std::size_t left = sections_.size(); left > 1;) {
    const std::size_t half = left / 2;
    found = key < sections_[found + half].begin ? found : found + half;
    left -= half;
  }
  return found;
}

// Inserting.

void TimerQueue::insert(const TimerEntry& entry) {
  const std::size_t section = section_of(entry);
  if (section == 0) return insert_in_order(entry);
  const TimerPageList& pages = sections_[section].pages;
  const bool has_room = pages.count > 0 && !pages_.last_of(pages).is_full();
  (has_room ? pages_.last_of(pages) : make_room(section, entry)).append(entry);
}

/// A full page gives its later half away, unless the new one comes after all that it has.
void TimerQueue::insert_in_order(const TimerEntry& entry) {
  if (first_page().is_full() && first_page().size() > TimerPage::capacity - quarter) {
    TimerPage& other = add_section(1, entry);
    TimerPage& page = first_page();
    if (page.ends_before(entry)) return other.append(entry);
    page.compact();
    sections_[1].begin = page.move_later_half_to(other);
    page.put_in_order();
    if (!(entry < sections_[1].begin)) return other.append(entry);
  }
  if (first_page().is_full()) first_page().compact();
  first_page().push_in_order(entry);
}

/// The page for `key`: the section's last one, where it is full and holes are not enough, a new one.  Times that rise, as
/// those of equal limits do, have a section for each page, so that nothing need be divided.
TimerPage& TimerQueue::make_room(std::size_t section, const TimerKey& key) {
  TimerPageList& list = sections_[section].pages;
  if (list.count == 0) return pages_.add_to(list);
  TimerPage& last = pages_.last_of(list);
  if (last.size() <= TimerPage::capacity - quarter) {
    last.compact();
    return last;
  }
  return ends_before(list, key) ? add_section(section + 1, key) : pages_.add_to(list);
}

bool TimerQueue::ends_before(const TimerPageList& list, const TimerKey& key) noexcept {
  std::size_t number = list.last;
  for (std::size_t i = 0; i < list.count; ++i, number = pages_.next(number))
    if (!pages_[number].ends_before(key)) return false;
  return true;
}

/// With an empty page.
TimerPage& TimerQueue::add_section(std::size_t at, const TimerKey& begin) {
  if (sections_.size() == sections_.capacity()) sections_.reserve(2 * sections_.size() + 1);
  TimerPageList list;
  TimerPage& page = pages_.add_to(list);
  sections_.insert(sections_.begin() + static_cast<std::ptrdiff_t>(at), Section{begin, list});
  return page;
}

// Removing.

/// After `removed` has left a page that is not the first, and has few timers now.  Sections are not joined while one is being
/// divided, whose parts have few timers at first.
void TimerQueue::tidy(std::size_t page_number, TimerKey removed) noexcept {
  if (pages_.is_marked(page_number)) return join_neighbours(undivided_, page_number);
  const std::size_t section = section_of(removed);
  join_neighbours(sections_[section].pages, page_number);
  if (undivided_.count > 0) return;
  if (section + 1 < sections_.size()) join_with_next(section);
  if (section > 1) join_with_next(section - 1);
}

/// An empty page goes, and one with few timers if they find room beside it.
void TimerQueue::join_neighbours(TimerPageList& list, std::size_t page_number) noexcept {
  TimerPage& page = pages_[page_number];
  for (const std::size_t other : {pages_.previous(page_number), pages_.next(page_number)}) {
    if (page.size() > 0 && other != page_number && should_be_one(page, pages_[other])) page.move_all_to(pages_[other]);
  }
  if (page.size() == 0) pages_.drop(list, page_number);
}

/// If one of the sections is empty, or both have few timers.
void TimerQueue::join_with_next(std::size_t section) noexcept {
  TimerPageList& list = sections_[section].pages;
  TimerPageList& next = sections_[section + 1].pages;
  const auto have_few = [&] {
    return list.count == 1 && next.count == 1 && should_be_one(pages_.last_of(list), pages_.last_of(next));
  };
  if (list.count == 0 || have_few()) pages_.move_all(next, list);
  if (next.count == 0) erase_section(section + 1);
  if (list.count == 2) join_neighbours(list, list.last);
}

/// The first page is empty.
void TimerQueue::advance() noexcept {
  for (;;) {
    if (sections_.size() == 1) return;
    if (is_being_divided(1)) finish_dividing();
    if (sections_[1].pages.count > 0) break;
    erase_section(1);
  }
  pages_.drop(sections_[0].pages, sections_[0].pages.last);
  if (sections_[1].pages.count > 1)
    move_earliest_to_front();
  else
    erase_section(0);
  first_page().put_in_order();
}

/// From the next section, which has several pages, to the first one, which has none.  Needs no memory.
void TimerQueue::move_earliest_to_front() noexcept {
  auto& [begin, pages] = sections_[1];
  const std::size_t earliest = pages.last;
  for (std::size_t left = pages.count - 1, number = pages_.next(earliest); left > 0; --left) {
    const std::size_t other = std::exchange(number, pages_.next(number));
    pages_[earliest].take_earlier_from(pages_[other]);
    if (pages_[other].size() == 0) pages_.drop(pages, other);
  }
  pages_.move(pages, earliest, sections_[0].pages);
  begin = {pages_[earliest].latest().when, pages_[earliest].latest().order + 1};
}

// Dividing.

/// In each hundred calls something is done for the order of what comes later.
void TimerQueue::count_call() noexcept {
  if (++call_count_ % calls_per_divided_page == 0) [[unlikely]]
    divide_some();
}

void TimerQueue::divide_some() noexcept {
  try {
    if (undivided_.count == 0) begin_dividing();
    if (undivided_.count > 0) divide_page();
  } catch (const std::bad_alloc&) {  // it can wait
  }
}

/// The first section that is longer than what will have come before it when half of that has gone.  0 if there is none.
std::size_t TimerQueue::section_to_divide() const noexcept {
  const std::size_t total = pages_.count();
  if (total < sections_.size() + fewest_pages_to_divide - 1) return 0;
  std::size_t before = 0;
  for (std::size_t i = 0; i < sections_.size() && 3 * before < total; ++i) {
    const std::size_t count = sections_[i].pages.count;
    if (count >= fewest_pages_to_divide && count > 2 * before) return i;
    before += count;
  }
  return 0;
}

/// Throws: std::bad_alloc, and then has done nothing.
void TimerQueue::begin_dividing() {
  const std::size_t section = section_to_divide();
  if (section == 0) return;
  const std::vector<TimerKey> samples = samples_of(sections_[section].pages);
  const std::size_t part_count = std::min({2 * sections_[section].pages.count, most_parts, samples.size()});
  std::vector<Section> parts(part_count - 1);
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i].begin = samples[(i + 1) * samples.size() / part_count];
  sections_.insert(sections_.begin() + static_cast<std::ptrdiff_t>(section) + 1, parts.begin(), parts.end());
  undivided_ = std::exchange(sections_[section].pages, {});
  undivided_begin_ = sections_[section].begin;
  pages_.mark(undivided_, true);
}

/// Some of the keys, in order.
std::vector<TimerKey> TimerQueue::samples_of(const TimerPageList& list) const {
  const std::size_t count = samples_per_part * std::min(2 * list.count, most_parts);
  std::vector<TimerKey> samples;
  samples.reserve(count);
  std::size_t number = list.last;
  for (std::size_t i = 0, page = 0; i < count; ++i) {
    for (; page < i * list.count / count; ++page) number = pages_.next(number);
    samples.push_back(pages_[number].sample(i));
  }
  std::sort(samples.begin(), samples.end());
  samples.erase(std::unique(samples.begin(), samples.end()), samples.end());
  return samples;
}

/// Throws: std::bad_alloc, and then some of the page may be left.
void TimerQueue::divide_page() {
  const std::size_t number = undivided_.last;
  pages_[number].fetch_timers();
  for (TimerEntry& entry : pages_[number].entries()) {
    if (entry.timer == nullptr) continue;
    insert(entry);
    pages_[number].remove(entry);  // what was inserted may have moved the page, but not its entries
  }
  pages_.drop(undivided_, number);
}

/// Where there is no memory to do so, all sections but the first become one.
void TimerQueue::finish_dividing() noexcept {
  try {
    while (undivided_.count > 0) divide_page();
  } catch (const std::bad_alloc&) {
    pages_.mark(undivided_, false);
    pages_.move_all(undivided_, sections_[1].pages);
    for (; sections_.size() > 2; sections_.pop_back()) pages_.move_all(sections_.back().pages, sections_[1].pages);
  }
}

}  // namespace tulp
