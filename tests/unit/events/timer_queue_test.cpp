#include "events/timer_queue.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "support/catch.hpp"

using namespace tulp;
using namespace std::chrono_literals;

namespace {
struct Nothing : Runnable {
  void run() noexcept override {}
} nothing;

struct Item {
  explicit Item(int time) : timer(nothing) { timer.set_when(TimePoint(std::chrono::seconds(time))); }
  Timer timer;
};
}  // namespace

TEST_CASE("a TimerQueue gives timers in the order of their time, equal ones in the order in which they were pushed") {
  TimerQueue queue;
  std::deque<Item> items;
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

TEST_CASE("a TimerQueue does what a sorted list does, whatever is pushed, removed and popped") {
  const auto seed = GENERATE(1U, 2U, 3U, 4U, 5U);
  CAPTURE(seed);
  std::mt19937 random(seed);
  TimerQueue queue;
  std::deque<Item> items;
  std::vector<Timer*> model;  // in the order of when, then of pushing: stable insertion
  const auto later = [](TimePoint when, const Timer* timer) { return when < timer->when(); };
  for (int step = 0; step < 4000; ++step) {
    const auto choice = random() % 8;
    if (choice < 4 || model.empty()) {
      Timer& timer = items.emplace_back(static_cast<int>(random() % 50)).timer;
      queue.push(timer);
      model.insert(std::upper_bound(model.begin(), model.end(), timer.when(), later), &timer);
    } else if (choice < 6) {
      const auto victim = model.begin() + static_cast<std::ptrdiff_t>(random() % model.size());
      queue.remove(**victim);
      if ((*victim)->is_scheduled()) FAIL("removed, and still scheduled");
      model.erase(victim);
    } else {
      if (queue.next() != model.front()->when()) FAIL("a wrong time is next at step " << step);
      if (&queue.pop() != model.front()) FAIL("a wrong timer was popped at step " << step);
      model.erase(model.begin());
    }
    if (queue.size() != model.size()) FAIL("a wrong size at step " << step);
  }
  while (!model.empty()) {
    if (&queue.pop() != model.front()) FAIL("a wrong timer was popped at the end");
    model.erase(model.begin());
  }
  CHECK(queue.empty());
}
