// Event: modern row 16.
#include <tulp/error.hpp>
#include <tulp/event.hpp>
#include <tulp/wait.hpp>

#include <optional>
#include <string>
#include <vector>

#include "support/cancel_points.hpp"
#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

std::vector<Task<>> waiters(Event& event, Trace& trace, int count) {
  return begun(count, [&event, &trace](int i) {
    event.wait();
    trace.push_back(std::to_string(i));
  });
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "an event that is set is not waited for") {
  run([&] {
    Event event;
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    CHECK_FALSE(event.is_set());
    event.set();
    CHECK(event.is_set());
    CHECK(event.wait());
    CHECK_FALSE(others_ran);
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "set() wakes all who wait, in the order in which they came, and none of them inline") {
  run([&] {
    Event event;
    Trace trace;
    auto tasks = waiters(event, trace, 3);
    CHECK(trace.empty());
    event.set();
    event.set();
    CHECK(trace.empty());
    for (auto& task : tasks) await(task);
    CHECK(trace == Trace{"0", "1", "2"});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "who waits when the event is set returns, even if it is cleared at once; who comes then waits") {
  run([&] {
    Event event;
    Trace trace;
    auto tasks = waiters(event, trace, 2);
    event.set();
    event.clear();
    CHECK_FALSE(event.is_set());
    for (auto& task : tasks) await(task);
    auto late = waiters(event, trace, 1);
    let_others_run(3);
    CHECK_FALSE(late[0].done());
    event.set();
    await(late[0]);
    CHECK(trace == Trace{"0", "1", "0"});
  });
}

TEST_CASE_METHOD(LoopTest, "an event is set by a callback, too") {
  run([&] {
    Event event;
    loop().call_later(1ms, [&] { event.set(); });
    CHECK(event.wait());
  });
}

TEST_CASE_METHOD(LoopTest, "a waiter that is cancelled when the event was set has seen it; before that it has not") {
  run([&] {
    Event event;
    Trace trace;
    auto tasks = waiters(event, trace, 3);
    tasks[0].cancel();
    event.set();
    tasks[1].cancel();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    await(tasks[1]);
    await(tasks[2]);
    CHECK(trace == Trace{"1", "2"});
  });
}

TEST_CASE_METHOD(LoopTest, "wherever a task that waits for an event is cancelled, the others go on") {
  run([&] {
    std::optional<Event> event;
    std::vector<bool> has_seen;
    const auto start = [&] {
      event.emplace();
      has_seen.assign(3, false);
      loop().call_soon([&] { loop().call_soon([&] { loop().call_soon([&] { event->set(); }); }); });
      std::vector<Task<>> tasks;
      for (std::size_t i = 0; i < has_seen.size(); ++i) {
        tasks.push_back(create_task([&, i] {
          event->wait();
          has_seen[i] = true;
        }));
      }
      return tasks;
    };
    cancel_at_each_point(6, start, [&](const std::vector<Task<>>&, std::size_t victim) {
      for (std::size_t i = 0; i < has_seen.size(); ++i)
        if (i != victim) CHECK(has_seen[i]);
      while (!event->is_set()) sleep(0s);  // all may have ended before
    });
  });
}

TEST_CASE_METHOD(LoopTest, "a time limit ends the wait for an event") {
  run([&] {
    Event event;
    CHECK_THROWS_AS(with_timeout(10ms, [&] { event.wait(); }), TimeoutError);
    event.set();
    with_timeout(1h, [&] { event.wait(); });
  });
}

TEST_CASE_METHOD(LoopTest, "outside a task wait() is an InvalidStateError, even if the event is set") {
  Event event;
  CHECK_THROWS_AS(event.wait(), InvalidStateError);
  event.set();
  CHECK_THROWS_AS(event.wait(), InvalidStateError);
}
