#include "events/timer_queue.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/sys.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"
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
  // The last three empty a section beside one that is being divided.
  const auto [seed, times] = GENERATE(table<unsigned, std::string>(
      {{1, "few"}, {2, "any"}, {3, "of two limits"}, {18, "any"}, {117, "any"}, {295, "of two limits"}}));
  CAPTURE(seed, times);
  std::mt19937 random(seed);
  Compared compared;
  int now = 0;
  const auto next_time = [&, &times = times]() -> int {
    if (times == "of two limits") return random() % 2 == 0 ? now++ : now + 1'000'000;
    return static_cast<int>(random() % (times == "few" ? 50 : 1'000'000));
  };
  // It grows, stays so, and shrinks.
  const int steps = (10 + static_cast<int>(random() % 50)) * page;
  for (const unsigned pushes_of_8 : {7U, 4U, 1U}) {
    for (int step = 0; step < steps; ++step) {
      if (const auto choice = random() % 8; choice < pushes_of_8 || compared.queue.empty())
        compared.push(next_time());
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

namespace {

/// A page of timers that are due before all others, and then `count` in any order behind them, so that what is behind is far too
/// long for the place where it stands.
void push_few_before_many(Compared& compared, int count) {
  std::mt19937 random(3);
  for (int i = 0; i < page / 2; ++i) compared.push(i % 100);
  for (int i = 0; i < count; ++i) compared.push(1000 + static_cast<int>(random() % 1'000'000));
}

}  // namespace

TEST_CASE("a TimerQueue keeps the order of many timers behind few, whenever those few have gone") {
  const int count = GENERATE(3, 5, 7, 40, 100) * page;
  const auto popped_in_between = GENERATE(0, page / 4, page / 2);
  CAPTURE(count, popped_in_between);
  Compared compared;
  push_few_before_many(compared, count);
  for (int i = 0; i < popped_in_between; ++i) compared.pop();
  for (int i = 0; i < page; ++i) compared.push(i * 1000);
  compared.pop_all();
}

TEST_CASE("a TimerQueue keeps the order whatever is removed while it divides what is too long") {
  const auto seed = GENERATE(1U, 2U, 3U, 4U);
  const auto left_of_each_hundred = GENERATE(0U, 1U, 40U);
  CAPTURE(seed, left_of_each_hundred);
  std::mt19937 random(seed);
  Compared compared;
  push_few_before_many(compared, 30 * page);
  for (std::size_t i = 0; i < compared.pushed_count(); ++i) {
    if (random() % 100 >= left_of_each_hundred) compared.remove(i);
    if (i % 1000 == 0) compared.push(static_cast<int>(random() % 1'000'000));
    if (i % 3000 == 0) compared.pop();
  }
  compared.pop_all();
  CHECK(compared.queue.page_count() == 1);
}

TEST_CASE("a TimerQueue keeps the order when whole pages of what it is dividing are removed") {
  const auto popped_pages = GENERATE(range(2, 30));
  CAPTURE(popped_pages);
  std::mt19937 random(1);
  Compared compared;
  for (int i = 0; i < 32 * page; ++i) compared.push(static_cast<int>(random() % 1'000'000));
  for (int i = 0; i < popped_pages * page; ++i) compared.pop();
  for (std::size_t i = 0; i < 16U * page; ++i) compared.remove(i);
  compared.pop_all();
}

TEST_CASE("a TimerQueue of many timers in any order touches few of them in any call") {
  // Seen by what moves: at most a page is divided, parted or put in order.
  std::mt19937 random(9);
  TimerQueue queue;
  std::deque<TimerItem> items;
  std::vector<std::size_t> positions;
  std::size_t most_moved = 0;
  const auto count_moved = [&] {
    std::size_t moved = 0;
    for (std::size_t i = 0; i < positions.size(); ++i)
      if (std::exchange(positions[i], items[i].timer.position) != positions[i]) ++moved;
    most_moved = std::max(most_moved, moved);
  };
  constexpr int count = 20 * page;
  for (int i = 0; i < count; ++i) {
    TimerItem& item = items.emplace_back(i < page / 2 ? i : static_cast<int>(random() % 1'000'000) + 1000);
    queue.push(item.timer);
    positions.push_back(item.timer.position);
    if (i % 64 == 0) count_moved();
  }
  while (!queue.empty()) {
    for (int i = 0; i < 64 && !queue.empty(); ++i) queue.pop();
    count_moved();
  }
  CHECK(most_moved <= 6 * page);
}

TEST_CASE("a TimerQueue pushes into the room that removed timers have left") {
  Compared compared;
  for (int i = 0; i < 2 * page; ++i) compared.push(i);
  for (std::size_t i = page; i < 2U * page; i += 2) compared.remove(i);
  for (int i = page; i < 2 * page; i += 2) compared.push(i);
  CHECK(compared.queue.page_count() == 2);
  compared.pop_all();
}

namespace {

/// As long as it lives there are no more slabs, but for those that are given back between two calls of exhaust().
class NoSlabs {
 public:
  NoSlabs() {
    sys.mmap = [](void*, size_t, int, int, int, off_t) { return errno = ENOMEM, MAP_FAILED; };
    exhaust();
  }
  NoSlabs(const NoSlabs&) = delete;
  NoSlabs& operator=(const NoSlabs&) = delete;
  ~NoSlabs() {
    for (void* memory : taken_) detail::SlabPages::give_undivided(memory);
  }
  void exhaust() {
    try {
      while (taken_.size() < 10'000) taken_.push_back(detail::SlabPages::take_undivided());
    } catch (const std::bad_alloc&) {
    }
  }

 private:
  const PatchedSystem patched_;
  std::vector<void*> taken_;
};

}  // namespace

TEST_CASE("a TimerQueue that finds no memory to divide what is too long keeps the order all the same") {
  const int count = GENERATE(range(3 * page, 5 * page, 25));  // so that it is found at all stages of dividing
  CAPTURE(count);
  Compared compared;
  push_few_before_many(compared, count);
  {
    NoSlabs no_slabs;
    for (int i = 0; i < 2 * page; ++i) {
      compared.pop();
      no_slabs.exhaust();
    }
  }
  for (std::size_t i = 0; i < compared.pushed_count(); i += 2) compared.remove(i);
  compared.pop_all();
}
