// Condition: modern row 16.
#include <tulp/condition.hpp>
#include <tulp/error.hpp>
#include <tulp/wait.hpp>

#include <cstddef>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/cancel_points.hpp"
#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Tasks that wait once, with the lock, begun and thus waiting in this order.
std::vector<Task<>> waiters(Condition& condition, Trace& trace, int count) {
  return begun(count, [&condition, &trace](int i) {
    const std::lock_guard guard(condition);
    condition.wait();
    CHECK(condition.locked());
    trace.push_back(std::to_string(i));
  });
}

void wait_until_done(const Task<>& task) {
  while (!task.done()) sleep(0s);
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "wait() releases the lock until it is notified, and returns when it has it again") {
  run([&] {
    Condition condition;
    Trace trace;
    auto tasks = waiters(condition, trace, 1);
    CHECK_FALSE(condition.locked());
    condition.acquire();
    condition.notify();
    let_others_run(3);
    CHECK_FALSE(tasks[0].done());
    condition.release();
    await(tasks[0]);
    CHECK_FALSE(condition.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "notify(n) wakes the n that have waited longest, in order; notify_all() wakes all") {
  run([&] {
    Condition condition;
    Trace trace;
    auto tasks = waiters(condition, trace, 6);
    const auto notify = [&](auto how) {
      const std::lock_guard guard(condition);
      how();
    };
    notify([&] { condition.notify(0); });
    let_others_run(5);
    CHECK(trace.empty());
    notify([&] { condition.notify(); });
    let_others_run(5);
    CHECK(trace == Trace{"0"});
    notify([&] { condition.notify(2); });
    let_others_run(5);
    CHECK(trace == Trace{"0", "1", "2"});
    notify([&] { condition.notify_all(); });
    let_others_run(5);
    CHECK(trace == Trace{"0", "1", "2", "3", "4", "5"});
    notify([&] { condition.notify(7); });
    for (auto& task : tasks) await(task);
  });
}

TEST_CASE_METHOD(LoopTest, "a notification reaches who waits now, and nobody who comes later") {
  run([&] {
    Condition condition;
    Trace trace;
    {
      const std::lock_guard guard(condition);
      condition.notify_all();
    }
    auto tasks = waiters(condition, trace, 1);
    let_others_run(3);
    CHECK_FALSE(tasks[0].done());
    {
      const std::lock_guard guard(condition);
      condition.notify();
    }
    await(tasks[0]);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "wait_for() waits until its predicate is true, with the lock held, and returns what it gave") {
  run([&] {
    Condition condition;
    int value = 0;
    auto task = create_task([&] {
      const std::lock_guard guard(condition);
      return condition.wait_for([&] {
        CHECK(condition.locked());
        return value == 3 ? std::optional(value) : std::nullopt;
      });
    });
    for (int i = 0; i < 3; ++i) {
      let_others_run(3);
      CHECK_FALSE(task.done());
      const std::lock_guard guard(condition);
      ++value;
      condition.notify();
    }
    CHECK(await(task) == 3);
    const std::lock_guard guard(condition);
    CHECK(condition.wait_for([] { return true; }));
    CHECK_THROWS_WITH(condition.wait_for([]() -> bool { throw std::runtime_error("boom"); }), "boom");
    CHECK(condition.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "conditions may share a lock") {
  run([&] {
    Lock lock;
    Condition full(lock);
    Condition empty(lock);
    int stored = 0;
    int sum = 0;
    auto consumer = create_task([&] {
      for (int i = 0; i < 10; ++i) {
        const std::lock_guard guard(lock);
        full.wait_for([&] { return stored != 0; });
        sum += std::exchange(stored, 0);
        empty.notify();
      }
    });
    for (int i = 1; i <= 10; ++i) {
      const std::lock_guard guard(lock);
      empty.wait_for([&] { return stored == 0; });
      stored = i;
      full.notify();
    }
    await(consumer);
    CHECK(sum == 55);
  });
}

TEST_CASE_METHOD(LoopTest, "a waiter that is cancelled has the lock again before it hears of it") {
  run([&] {
    Condition condition;
    bool was_locked = false;
    auto task = create_task([&] {
      const std::unique_lock guard(condition);
      try {
        condition.wait();
      } catch (const CancelledError&) {
        was_locked = condition.locked();
        throw;
      }
    });
    let_others_run();
    condition.acquire();
    task.cancel();
    let_others_run(3);
    CHECK_FALSE(task.done());
    task.cancel();  // does not cut that short
    let_others_run(3);
    CHECK_FALSE(task.done());
    condition.release();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(was_locked);
    CHECK_FALSE(condition.locked());
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a waiter that is cancelled before the notification leaves it to the next; behind it, it has it") {
  run([&] {
    Condition condition;
    Trace trace;
    auto tasks = waiters(condition, trace, 3);
    condition.acquire();
    tasks[0].cancel();
    condition.notify();
    SECTION("while it waits for its turn") { tasks[1].cancel(); }
    SECTION("while it waits for the lock") {
      let_others_run(3);
      tasks[1].cancel();
    }
    condition.release();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    wait_until_done(tasks[1]);
    CHECK(trace == Trace{"1"});
    CHECK_FALSE(tasks[2].done());
    {
      const std::lock_guard guard(condition);
      condition.notify();
    }
    await(tasks[2]);
    CHECK_FALSE(condition.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "wherever a task that uses a condition is cancelled, no notification is lost") {
  run([&] {
    std::optional<Condition> condition;
    int tokens = 0;
    std::vector<int> taken;
    Task<> giver;
    const auto start = [&] {
      condition.emplace();
      tokens = 0;
      taken.assign(3, 0);
      std::vector<Task<>> tasks;
      for (std::size_t i = 0; i < taken.size(); ++i) {
        tasks.push_back(create_task([&, i] {
          const std::lock_guard guard(*condition);
          condition->wait_for([&] { return tokens > 0; });
          --tokens;
          ++taken[i];
        }));
      }
      giver = create_task([&] {
        for (int i = 0; i < 3; ++i) {
          let_others_run(1);
          const std::lock_guard guard(*condition);
          ++tokens;
          condition->notify();
        }
      });
      return tasks;
    };
    cancel_at_each_point(14, start, [&](const std::vector<Task<>>&, std::size_t victim) {
      await(giver);
      CHECK_FALSE(condition->locked());
      int sum = tokens;
      for (std::size_t i = 0; i < taken.size(); ++i) {
        sum += taken[i];
        if (i != victim) CHECK(taken[i] == 1);
      }
      CHECK(sum == 3);
    });
  });
}

TEST_CASE_METHOD(LoopTest, "a time limit ends the wait for a condition, with the lock held") {
  run([&] {
    Condition condition;
    const std::lock_guard guard(condition);
    CHECK_THROWS_AS(with_timeout(10ms, [&] { condition.wait(); }), TimeoutError);
    CHECK(condition.locked());
  });
}

TEST_CASE_METHOD(LoopTest,
                 "waiting and notifying without the lock are InvalidStateErrors, and so is waiting outside a task") {
  Condition condition;
  run([&] { CHECK_THROWS_AS(condition.wait(), InvalidStateError); });
  CHECK_THROWS_AS(condition.notify(), InvalidStateError);
  CHECK_THROWS_AS(condition.notify_all(), InvalidStateError);
  CHECK_THROWS_AS(condition.release(), InvalidStateError);
  REQUIRE(condition.try_lock());
  CHECK_THROWS_AS(condition.wait(), InvalidStateError);
  CHECK_THROWS_AS(condition.wait_for([] { return true; }), InvalidStateError);
  CHECK(condition.locked());
  condition.notify();
  condition.unlock();
}
