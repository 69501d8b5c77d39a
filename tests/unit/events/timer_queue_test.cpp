#include "events/timer_queue.hpp"

#include <deque>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"
#include "support/runnables.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

namespace {
struct TimerItem {
  explicit TimerItem(int time) : timer(nothing) { timer.set_when(TimePoint(std::chrono::seconds(time))); }
  Timer timer;
};
}  // namespace

TEST_CASE("a TimerQueue gives timers in the order of their time, equal ones in the order in which they were pushed") {
  TimerQueue queue;
  std::deque<TimerItem> items;
  for (int time : {3, 1, 2, 1, 3, 1}) queue.push(items.emplace_back(time).timer);
  CHECK(queue.size() == 6);
  for (std::size_t expected : {1U, 3U, 5U, 2U, 0U, 4U}) {
    CHECK(queue.next() == items[expected].timer.when());
    Timer& popped = queue.pop();
    CHECK(&popped == &items[expected].timer);
    CHECK_FALSE(popped.is_scheduled());
  }
  CHECK(queue.empty());
}

namespace {

constexpr int page = TimerPage::capacity;

/// A TimerQueue beside a std::multimap, which keeps equal keys in the order in which they were inserted.
class Compared {
 public:
  void push(int time) {
    TimerItem& item = items_.emplace_back(time);
    queue.push(item.timer);
    places_.push_back(model_.emplace(item.timer.when(), items_.size() - 1));
  }
  /// Removes the timer that was pushed as the `index`th, if it is there still.
  void remove(std::size_t index) {
    if (!items_[index].timer.is_scheduled()) return;
    queue.remove(items_[index].timer);
    model_.erase(places_[index]);
    if (items_[index].timer.is_scheduled()) FAIL("removed, and still scheduled");
    if (queue.size() != model_.size()) FAIL("a wrong size");
  }
  void pop() {
    const auto first = model_.begin();
    if (queue.next() != first->first) FAIL("a wrong time is next");
    const Timer& popped = queue.pop();
    if (&popped != &items_[first->second].timer) FAIL("a wrong timer was popped");
    if (popped.is_scheduled()) FAIL("popped, and still scheduled");
    model_.erase(first);
  }
  void pop_all() {
    while (!model_.empty()) pop();
    if (!queue.empty()) FAIL("not empty at the end");
  }
  std::size_t pushed_count() const { return items_.size(); }

  TimerQueue queue;

 private:
  std::deque<TimerItem> items_;
  std::multimap<TimePoint, std::size_t> model_;
  std::vector<std::multimap<TimePoint, std::size_t>::iterator> places_;
};

}  // namespace

TEST_CASE("a TimerQueue does what a sorted list does, whatever is pushed, removed and popped") {
  const auto seed = GENERATE(1U, 2U, 3U);
  const auto distinct_times = GENERATE(50, 1'000'000);
  CAPTURE(seed, distinct_times);
  std::mt19937 random(seed);
  Compared compared;
  // It grows to some pages, stays so, and shrinks.
  for (const unsigned pushes_of_8 : {7U, 4U, 1U}) {
    for (int step = 0; step < 6 * page; ++step) {
      if (const auto choice = random() % 8; choice < pushes_of_8 || compared.queue.empty())
        compared.push(static_cast<int>(random() % static_cast<unsigned>(distinct_times)));
      else if (choice % 2 == 0)
        compared.remove(random() % compared.pushed_count());
      else
        compared.pop();
    }
  }
  compared.pop_all();
}

TEST_CASE("a TimerQueue keeps the order of timers that are due at one time, also on several pages") {
  Compared compared;
  for (int i = 0; i < 3 * page; ++i) compared.push(i % 5 == 0 ? 1 : 2);
  for (std::size_t i = 0; i < compared.pushed_count(); i += 7) compared.remove(i);
  for (int i = 0; i < 3 * page; ++i) compared.push(1);
  compared.pop_all();
}

TEST_CASE("a TimerQueue orders what is due before all that it has, however much that is") {
  Compared compared;
  compared.push(1'000'000);
  for (int i = 0; i < 4 * page; ++i) compared.push(4 * page - i);
  compared.pop_all();
}

TEST_CASE("a TimerQueue fills its pages with times that rise, as those of equal time limits do") {
  Compared compared;
  for (int i = 0; i < 10 * page; ++i) compared.push(i);
  CHECK(compared.queue.page_count() == 10);
  for (std::size_t i = 0; i < 5U * page; ++i) compared.remove(i);
  CHECK(compared.queue.page_count() == 5);
  compared.pop_all();
}

TEST_CASE("a TimerQueue keeps the order if among times that rise comes one that does not, and if some are removed") {
  Compared compared;
  std::mt19937 random(5);
  for (int i = 0; i < 4 * page; ++i) {
    compared.push(i % 1000 == 999 ? i / 2 : i);
    if (i % 3 == 0) compared.remove(random() % compared.pushed_count());
    if (i % 5 == 4) compared.pop();
  }
  compared.pop_all();
}

TEST_CASE("a TimerQueue gives memory back when timers are removed, whichever and in which order") {
  const bool are_random = GENERATE(true, false);
  CAPTURE(are_random);
  std::mt19937 random(11);
  Compared compared;
  for (int i = 0; i < 20 * page; ++i) compared.push(are_random ? static_cast<int>(random() % 1'000'000) : i);
  for (std::size_t i = 0; i < compared.pushed_count(); ++i)
    if (i % 500 != 0) compared.remove(i);
  CHECK(compared.queue.size() == 20 * page / 500 + 1);
  CHECK(compared.queue.page_count() <= 2);
  for (std::size_t i = 0; i < compared.pushed_count(); ++i) compared.remove(i);
  CHECK(compared.queue.page_count() == 1);
  compared.push(5);
  compared.pop_all();
}
