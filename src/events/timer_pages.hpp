// TimerPages: timer pages, by number, in lists.  Floor 3, events.
#pragma once
#include <cstddef>
#include <vector>

#include "events/timer_page.hpp"

namespace tulp {

/// A ring of pages.
struct TimerPageList {
  std::size_t last = 0;  // the number of the page that was added last, unless there is none
  std::size_t count = 0;
};

/// All pages of a TimerQueue, each in one list.
class TimerPages {
 public:
  TimerPage& operator[](std::size_t number) noexcept { return pages_[number]; }
  const TimerPage& operator[](std::size_t number) const noexcept { return pages_[number]; }
  TimerPage& last_of(const TimerPageList& list) noexcept { return pages_[list.last]; }
  std::size_t count() const noexcept { return pages_.size() - free_numbers_.size(); }

  /// Adds an empty page at the end.  Throws: std::bad_alloc.
  TimerPage& add_to(TimerPageList& list);
  /// The page is empty; its memory goes.
  void drop(TimerPageList& list, std::size_t number) noexcept;
  void move(TimerPageList& from, std::size_t number, TimerPageList& to) noexcept;
  /// Leaves `from` empty.
  void move_all(TimerPageList& from, TimerPageList& to) noexcept;

  /// After the last page comes the first one.
  std::size_t next(std::size_t number) const noexcept { return places_[number].next; }
  std::size_t previous(std::size_t number) const noexcept { return places_[number].previous; }

  /// Marks all that are in the list now, or takes the marks from them.  A page that is added has none.
  void mark(const TimerPageList& list, bool is_marked) noexcept;
  bool is_marked(std::size_t number) const noexcept { return places_[number].is_marked; }

 private:
  struct Place {
    std::size_t next = 0;
    std::size_t previous = 0;
    bool is_marked = false;
  };
  void link(TimerPageList& list, std::size_t number) noexcept;
  void unlink(TimerPageList& list, std::size_t number) noexcept;
  void join(std::size_t number, std::size_t next) noexcept;

  std::vector<TimerPage> pages_;  // by number
  std::vector<Place> places_;
  std::vector<std::size_t> free_numbers_;  // of pages that have no memory
};

}  // namespace tulp
