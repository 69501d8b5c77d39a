#include "events/timer_pages.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/runnables.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// The numbers of the pages in a list, from the first to the last; checks that they are the same backwards.
std::vector<std::size_t> numbers_of(const TimerPages& pages, const TimerPageList& list) {
  std::vector<std::size_t> numbers;
  std::size_t number = list.last;
  for (std::size_t i = 0; i < list.count; ++i) {
    const std::size_t next = pages.next(number);
    CHECK(pages.previous(next) == number);
    numbers.push_back(number = next);
  }
  CHECK((list.count == 0 || number == list.last));
  return numbers;
}

using Numbers = std::vector<std::size_t>;

}  // namespace

TEST_CASE("TimerPages add a page at the end of a list, and drop it from wherever it is") {
  TimerPages pages;
  TimerPageList list;
  for (int i = 0; i < 4; ++i) pages.add_to(list);
  CHECK(numbers_of(pages, list) == Numbers{0, 1, 2, 3});
  CHECK(&pages.last_of(list) == &pages[3]);
  pages.drop(list, 1);
  CHECK(numbers_of(pages, list) == Numbers{0, 2, 3});
  pages.drop(list, 3);
  CHECK(numbers_of(pages, list) == Numbers{0, 2});
  pages.drop(list, 0);
  pages.drop(list, 2);
  CHECK(numbers_of(pages, list).empty());
  CHECK(pages.count() == 0);
}

TEST_CASE("TimerPages use the number of a page that was dropped again, and find the timers of each") {
  TimerPages pages;
  TimerPageList list;
  Timer timers[3] = {Timer(nothing), Timer(nothing), Timer(nothing)};
  for (int i = 0; i < 3; ++i) pages.add_to(list);
  pages.drop(list, 1);
  CHECK(pages.count() == 2);
  TimerPage& added = pages.add_to(list);
  CHECK(&added == &pages[1]);
  CHECK(added.size() == 0);
  CHECK(numbers_of(pages, list) == Numbers{0, 2, 1});
  for (std::size_t number = 0; number < 3; ++number) pages[number].append({{5, number}, &timers[number]});
  for (std::size_t number = 0; number < 3; ++number) CHECK(TimerPage::number_of_page_of(timers[number]) == number);
}

TEST_CASE("TimerPages move a page, or all of them, from list to list") {
  TimerPages pages;
  TimerPageList one;
  TimerPageList other;
  for (int i = 0; i < 3; ++i) pages.add_to(one);
  pages.move(one, 1, other);
  CHECK(numbers_of(pages, one) == Numbers{0, 2});
  CHECK(numbers_of(pages, other) == Numbers{1});
  pages.move_all(one, other);
  CHECK(one.count == 0);
  CHECK(numbers_of(pages, other) == Numbers{1, 0, 2});
  pages.move_all(one, other);
  CHECK(numbers_of(pages, other) == Numbers{1, 0, 2});
}

TEST_CASE(
    "TimerPages mark what is in a list, but not what is added later, and no page keeps its mark when it is dropped") {
  TimerPages pages;
  TimerPageList list;
  for (int i = 0; i < 2; ++i) pages.add_to(list);
  pages.mark(list, true);
  pages.add_to(list);
  CHECK(pages.is_marked(0));
  CHECK(pages.is_marked(1));
  CHECK_FALSE(pages.is_marked(2));
  pages.drop(list, 0);
  pages.add_to(list);
  CHECK_FALSE(pages.is_marked(0));
  pages.mark(list, false);
  CHECK_FALSE(pages.is_marked(1));
}
