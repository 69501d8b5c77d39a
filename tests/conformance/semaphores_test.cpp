// Semaphore and BoundedSemaphore: modern row 16.
#include <tulp/error.hpp>
#include <tulp/semaphore.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
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

/// Tasks that take a place and keep it, begun and thus waiting in this order.
std::vector<Task<>> takers(Semaphore& semaphore, Trace& trace, int count) {
  return begun(count, [&semaphore, &trace](int i) {
    semaphore.acquire();
    trace.push_back(std::to_string(i));
  });
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a semaphore with places is acquired without a park, and locked when they are taken") {
  run([&] {
    Semaphore semaphore(2);
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    CHECK(semaphore.acquire());
    CHECK_FALSE(semaphore.locked());
    CHECK(semaphore.acquire());
    CHECK(semaphore.locked());
    CHECK_FALSE(others_ran);
    semaphore.release();
    CHECK_FALSE(semaphore.locked());
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "a semaphore lets so many tasks through at a time, also across parks") {
  run([&] {
    Semaphore semaphore(3);
    int inside = 0;
    int most = 0;
    std::vector<Task<>> tasks;
    for (int i = 0; i < 20; ++i) {
      tasks.push_back(create_task([&, i] {
        const std::lock_guard guard(semaphore);
        most = std::max(most, ++inside);
        let_others_run(1 + i % 4);
        --inside;
      }));
    }
    for (auto& task : tasks) await(task);
    CHECK(most == 3);
    CHECK(inside == 0);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "those who wait for a semaphore get places in the order in which they came, one for each release") {
  run([&] {
    Semaphore semaphore(0);
    Trace trace;
    auto tasks = takers(semaphore, trace, 3);
    semaphore.release();
    semaphore.release();
    let_others_run(2);
    CHECK(trace == Trace{"0", "1"});
    CHECK(semaphore.locked());
    semaphore.release();
    for (auto& task : tasks) await(task);
    CHECK(trace == Trace{"0", "1", "2"});
    CHECK(semaphore.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "a released place belongs to who waits: nobody overtakes") {
  run([&] {
    Semaphore semaphore(0);
    Trace trace;
    auto tasks = takers(semaphore, trace, 1);
    semaphore.release();
    CHECK(semaphore.locked());
    CHECK_FALSE(semaphore.try_lock());
    await(tasks[0]);
    semaphore.release();
    CHECK(semaphore.try_lock());
  });
}

TEST_CASE_METHOD(LoopTest, "a cancelled waiter leaves the line; one that was handed its place has it") {
  run([&] {
    Semaphore semaphore(0);
    Trace trace;
    auto tasks = takers(semaphore, trace, 3);
    tasks[0].cancel();
    semaphore.release();  // to the second
    tasks[1].cancel();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    await(tasks[1]);
    CHECK(trace == Trace{"1"});
    CHECK_FALSE(tasks[2].done());
    semaphore.release();
    await(tasks[2]);
    semaphore.release();
    CHECK_FALSE(semaphore.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "wherever a task that uses a semaphore is cancelled, no place is lost and none is made") {
  run([&] {
    std::optional<BoundedSemaphore> semaphore;
    std::vector<int> turns;
    const auto start = [&] {
      semaphore.emplace(2);
      turns.assign(5, 0);
      std::vector<Task<>> tasks;
      for (std::size_t i = 0; i < turns.size(); ++i) {
        tasks.push_back(create_task([&, i] {
          for (int turn = 0; turn < 2; ++turn) {
            const std::lock_guard guard(*semaphore);
            let_others_run(2);
            ++turns[i];
          }
        }));
      }
      return tasks;
    };
    cancel_at_each_point(16, start, [&](const std::vector<Task<>>&, std::size_t victim) {
      for (std::size_t i = 0; i < turns.size(); ++i)
        if (i != victim) CHECK(turns[i] == 2);
      CHECK(semaphore->try_lock());
      CHECK(semaphore->try_lock());
      CHECK_FALSE(semaphore->try_lock());
    });
  });
}

TEST_CASE_METHOD(LoopTest, "a time limit ends the wait for a semaphore, and takes no place") {
  run([&] {
    Semaphore semaphore(0);
    CHECK_THROWS_AS(with_timeout(10ms, [&] { semaphore.acquire(); }), TimeoutError);
    semaphore.release();
    CHECK(semaphore.try_lock());
  });
}

TEST_CASE_METHOD(LoopTest, "a semaphore may be released more often than acquired, a bounded one may not") {
  Semaphore semaphore;
  semaphore.release();
  CHECK(semaphore.try_lock());
  CHECK(semaphore.try_lock());
  CHECK_FALSE(semaphore.try_lock());

  BoundedSemaphore bounded(2);
  CHECK_THROWS_AS(bounded.release(), std::invalid_argument);
  CHECK(bounded.try_lock());
  bounded.release();
  Semaphore& base = bounded;
  CHECK_THROWS_AS(base.release(), std::invalid_argument);
  CHECK(bounded.try_lock());
  CHECK(bounded.try_lock());
  CHECK_FALSE(bounded.try_lock());
}

TEST_CASE_METHOD(LoopTest, "a negative number of places, and one more than can be counted, are errors") {
  CHECK_THROWS_AS(Semaphore(-1), std::invalid_argument);
  CHECK_THROWS_AS(BoundedSemaphore(-1), std::invalid_argument);
  Semaphore most(std::numeric_limits<std::ptrdiff_t>::max());
  CHECK_THROWS_AS(most.release(), std::invalid_argument);
}

TEST_CASE_METHOD(LoopTest, "outside a task acquire() is an InvalidStateError that leaves the semaphore") {
  Semaphore semaphore(1);
  CHECK_THROWS_AS(semaphore.acquire(), InvalidStateError);
  CHECK_FALSE(semaphore.locked());
  CHECK(semaphore.try_lock());
  CHECK_THROWS_AS(semaphore.acquire(), InvalidStateError);
  semaphore.unlock();
  CHECK_FALSE(semaphore.locked());
}
