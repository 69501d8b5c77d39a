#include "events/timer_page.hpp"

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

#include "support/catch.hpp"
#include "support/runnables.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// A page, and timers for it whose keys are `times`, in that order.
struct FilledPage {
  explicit FilledPage(const std::vector<TimePoint::rep>& times) : page(3) {
    page.allocate();
    for (const auto time : times) page.append({{time, timers.size()}, &timers.emplace_back(nothing)});
  }
  /// Takes the page apart in order, and gives the times.
  std::vector<TimePoint::rep> take_all() {
    page.put_in_order();
    std::vector<TimePoint::rep> times;
    while (page.size() > 0) {
      times.push_back(page.first().when);
      page.remove_in_order(page.entry_of(*page.first().timer));
    }
    return times;
  }
  std::deque<Timer> timers;
  TimerPage page;
};

using Times = std::vector<TimePoint::rep>;

}  // namespace

TEST_CASE("a timer tells its TimerPage, and its entry there, wherever it is moved") {
  FilledPage filled({5, 1, 4, 2, 3});
  const auto all_are_found = [&] {
    for (const Timer& timer : filled.timers) {
      if (timer.position == Timer::unscheduled) continue;
      if (TimerPage::number_of_page_of(timer) != 3) return false;
      if (filled.page.entry_of(timer).timer != &timer) return false;
    }
    return true;
  };
  CHECK(all_are_found());
  filled.page.remove(filled.page.entry_of(filled.timers[1]));
  filled.timers[1].position = Timer::unscheduled;
  filled.page.compact();
  CHECK(all_are_found());
  filled.page.put_in_order();
  CHECK(all_are_found());
}

TEST_CASE("a TimerPage in order gives its timers by time, those of one time by their numbers, however they came") {
  const bool come_sorted = GENERATE(false, true);
  const bool is_joined = GENERATE(false, true);  // by timers between the others
  std::mt19937 random(7);
  Times times(600);
  std::generate(times.begin(), times.end(), [&] { return static_cast<TimePoint::rep>(random() % 200); });
  if (come_sorted) std::sort(times.begin(), times.end());
  FilledPage filled(times);
  filled.page.put_in_order();
  for (std::size_t i = 0; i < times.size(); i += 3) filled.page.remove_in_order(filled.page.entry_of(filled.timers[i]));
  for (TimePoint::rep time = 0; is_joined && time < 200; time += 7)
    filled.page.push_in_order({{time, 1000 + filled.timers.size()}, &filled.timers.emplace_back(nothing)});
  const std::size_t count = filled.page.size();
  TimerKey former{-1, 0};
  std::size_t taken = 0;
  for (; filled.page.size() > 0; ++taken) {
    const TimerEntry first = filled.page.first();
    if (!(former < first)) FAIL("out of order");
    former = first;
    filled.page.remove_in_order(filled.page.entry_of(*first.timer));
  }
  CHECK(taken == count);
}

TEST_CASE("a TimerPage that ran empty in order takes what comes next, in any order") {
  FilledPage filled({3, 1, 2});
  CHECK(filled.take_all() == Times{1, 2, 3});
  for (const TimePoint::rep time : {5, 6, 4})
    filled.page.push_in_order({{time, filled.timers.size()}, &filled.timers.emplace_back(nothing)});
  CHECK(filled.take_all() == Times{4, 5, 6});
}

TEST_CASE("a TimerPage without order keeps holes until it is compacted, and is empty again when all have left") {
  FilledPage filled(Times(TimerPage::capacity, 1));
  CHECK(filled.page.is_full());
  for (int i : {0, 5, 17}) filled.page.remove(filled.page.entry_of(filled.timers[static_cast<std::size_t>(i)]));
  CHECK(filled.page.size() == TimerPage::capacity - 3);
  CHECK(filled.page.is_full());
  filled.page.compact();
  CHECK_FALSE(filled.page.is_full());
  CHECK(filled.take_all().size() == TimerPage::capacity - 3);
  CHECK_FALSE(filled.page.is_full());
}

TEST_CASE("a TimerPage gives its later half away, and knows what comes after all that is left") {
  FilledPage filled({8, 1, 7, 2, 6, 3, 5, 4});
  TimerPage other(4);
  other.allocate();
  const TimerKey begin = filled.page.move_later_half_to(other);
  CHECK(begin.when == 5);
  CHECK(filled.page.size() == 4);
  CHECK(other.size() == 4);
  CHECK(filled.page.ends_before({4, 100}));
  CHECK_FALSE(filled.page.ends_before({4, 0}));
  CHECK(other.ends_before({9, 0}));
  CHECK(TimerPage::number_of_page_of(filled.timers[0]) == 4);
  CHECK(filled.take_all() == Times{1, 2, 3, 4});
}

TEST_CASE("a TimerPage moves all that it holds to another, holes excepted") {
  FilledPage filled({3, 1, 2});
  FilledPage other({6, 5, 4});
  filled.page.remove(filled.page.entry_of(filled.timers[0]));
  other.page.remove(other.page.entry_of(other.timers[1]));
  filled.page.move_all_to(other.page);
  CHECK(filled.page.size() == 0);
  CHECK(other.take_all() == Times{1, 2, 4, 6});
}
