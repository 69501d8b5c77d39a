// Lock: modern row 16.
#include <tulp/error.hpp>
#include <tulp/lock.hpp>
#include <tulp/wait.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "support/allocations.hpp"
#include "support/cancel_points.hpp"
#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

static_assert(!std::is_copy_constructible_v<Lock> && !std::is_copy_assignable_v<Lock>);

namespace {

/// Tasks that take the lock in turn, begun and thus waiting in this order.
std::vector<Task<>> lockers(Lock& lock, Trace& trace, int count) {
  return begun(count, [&lock, &trace](int i) {
    const std::lock_guard guard(lock);
    trace.push_back(std::to_string(i));
    sleep(0s);
  });
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a lock that nobody holds is acquired without a park") {
  run([&] {
    Lock lock;
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    CHECK_FALSE(lock.locked());
    CHECK(lock.acquire());
    CHECK(lock.locked());
    lock.release();
    CHECK_FALSE(lock.locked());
    CHECK_FALSE(others_ran);
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "a lock lets one task at a time through, also across parks") {
  run([&] {
    Lock lock;
    int inside = 0;
    std::vector<Task<>> tasks;
    for (int i = 0; i < 10; ++i) {
      tasks.push_back(create_task([&] {
        for (int turn = 0; turn < 5; ++turn) {
          const std::unique_lock guard(lock);
          CHECK(++inside == 1);
          let_others_run(turn);
          --inside;
        }
      }));
    }
    for (auto& task : tasks) await(task);
    CHECK_FALSE(lock.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "those who wait for a lock get it in the order in which they came") {
  run([&] {
    Lock lock;
    Trace trace;
    lock.acquire();
    auto tasks = lockers(lock, trace, 4);
    CHECK(trace.empty());
    lock.release();
    for (auto& task : tasks) await(task);
    CHECK(trace == Trace{"0", "1", "2", "3"});
  });
}

TEST_CASE_METHOD(LoopTest, "a released lock belongs to who waits: neither try_lock() nor acquire() overtakes") {
  run([&] {
    Lock lock;
    Trace trace;
    lock.acquire();
    auto tasks = lockers(lock, trace, 1);
    lock.release();
    CHECK(lock.locked());
    CHECK_FALSE(lock.try_lock());
    lock.acquire();
    trace.push_back("releaser");
    lock.release();
    await(tasks[0]);
    CHECK(trace == Trace{"0", "releaser"});
  });
}

TEST_CASE_METHOD(LoopTest, "a waiter that is cancelled leaves the line, and the others keep their places") {
  run([&] {
    Lock lock;
    Trace trace;
    lock.acquire();
    auto tasks = lockers(lock, trace, 3);
    tasks[1].cancel();
    CHECK_THROWS_AS(await(tasks[1]), FutureCancelledError);
    lock.release();
    await(tasks[0]);
    await(tasks[2]);
    CHECK(trace == Trace{"0", "2"});
    CHECK_FALSE(lock.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "a waiter that is cancelled when the lock was handed to it has it, and releases it") {
  run([&] {
    Lock lock;
    Trace trace;
    lock.acquire();
    auto tasks = lockers(lock, trace, 2);
    lock.release();
    tasks[0].cancel();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);  // at the park behind acquire()
    await(tasks[1]);
    CHECK(trace == Trace{"0", "1"});
    CHECK_FALSE(lock.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "a cancellation before the release and one behind it leave the lock to the third") {
  run([&] {
    Lock lock;
    Trace trace;
    lock.acquire();
    auto tasks = lockers(lock, trace, 3);
    tasks[0].cancel();
    lock.release();
    tasks[1].cancel();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    CHECK_THROWS_AS(await(tasks[1]), FutureCancelledError);
    await(tasks[2]);
    CHECK(trace == Trace{"1", "2"});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "wherever a task that uses a lock is cancelled, the others get it, and it is free in the end") {
  run([&] {
    std::optional<Lock> lock;
    std::vector<int> turns;
    int inside = 0;
    const auto start = [&] {
      lock.emplace();
      turns.assign(3, 0);
      std::vector<Task<>> tasks;
      for (std::size_t i = 0; i < turns.size(); ++i) {
        tasks.push_back(create_task([&, i] {
          for (int turn = 0; turn < 3; ++turn) {
            const std::lock_guard guard(*lock);
            struct Inside {
              int& count;
              explicit Inside(int& c) : count(c) { CHECK(++count == 1); }
              ~Inside() { --count; }
            } const here(inside);
            let_others_run(2);
            ++turns[i];
          }
        }));
      }
      return tasks;
    };
    cancel_at_each_point(24, start, [&](const std::vector<Task<>>&, std::size_t victim) {
      CHECK_FALSE(lock->locked());
      for (std::size_t i = 0; i < turns.size(); ++i)
        if (i != victim) CHECK(turns[i] == 3);
    });
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a cancellation that is pending does not keep a task from a free lock, and comes at a locked one") {
  run([&] {
    Lock lock;
    bool had_it = false;
    auto task = create_task([&] {
      current_task().cancel();
      const std::lock_guard guard(lock);
      had_it = true;
      lock.acquire();
    });
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(had_it);
    CHECK_FALSE(lock.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "a time limit ends the wait for a lock, which can be waited for again") {
  run([&] {
    Lock lock;
    lock.acquire();
    CHECK_THROWS_AS(with_timeout(10ms, [&] { lock.acquire(); }), TimeoutError);
    lock.release();
    CHECK_FALSE(lock.locked());
    with_timeout(1h, [&] { lock.acquire(); });
    CHECK(lock.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "an exception releases what a guard holds") {
  run([&] {
    Lock lock;
    CHECK_THROWS_AS(
        [&] {
          const std::lock_guard guard(lock);
          throw std::runtime_error("boom");
        }(),
        std::runtime_error);
    CHECK_FALSE(lock.locked());
  });
}

TEST_CASE_METHOD(LoopTest, "a lock has no owner: another task may release it, and so may a callback") {
  run([&] {
    Lock lock;
    lock.acquire();
    SECTION("a task") {
      await(create_task([&] { lock.release(); }));
      CHECK_FALSE(lock.locked());
    }
    SECTION("a callback, while somebody waits") {
      loop().call_soon([&] { lock.release(); });
      lock.acquire();
      CHECK(lock.locked());
    }
  });
}

TEST_CASE_METHOD(LoopTest, "releasing a lock that is not locked is an InvalidStateError") {
  Lock lock;
  CHECK_THROWS_AS(lock.release(), InvalidStateError);
  CHECK_THROWS_AS(lock.unlock(), InvalidStateError);
  CHECK_FALSE(lock.locked());
}

TEST_CASE_METHOD(LoopTest,
                 "outside a task acquire() is an InvalidStateError that leaves the lock, and try_lock() works") {
  Lock lock;
  CHECK_THROWS_AS(lock.acquire(), InvalidStateError);
  CHECK_THROWS_AS(lock.lock(), InvalidStateError);
  CHECK_FALSE(lock.locked());
  CHECK(lock.try_lock());
  CHECK_FALSE(lock.try_lock());
  CHECK_THROWS_AS(lock.acquire(), InvalidStateError);
  lock.unlock();
  CHECK(lock.try_lock());
}

TEST_CASE_METHOD(LoopTest, "std::scoped_lock takes two locks without a deadlock, whatever their order") {
  run([&] {
    Lock a;
    Lock b;
    int count = 0;
    const auto work = [&count](Lock& first, Lock& second) {
      for (int i = 0; i < 10; ++i) {
        const std::scoped_lock guard(first, second);
        const int seen = count;
        sleep(0s);
        count = seen + 1;
      }
    };
    auto one = create_task([&] { work(a, b); });
    auto other = create_task([&] { work(b, a); });
    await(one);
    await(other);
    CHECK(count == 20);
  });
}

TEST_CASE_METHOD(LoopTest, "waiting for a lock allocates nothing") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;  // that loop allocates in each wait
  run([&] {
    Lock lock;
    const auto work = [&] {
      for (int i = 0; i < 100; ++i) {
        const std::lock_guard guard(lock);
        sleep(0s);
      }
    };
    auto one = create_task(work);
    auto other = create_task(work);
    let_others_run(10);
    const AllocationCount allocations;
    let_others_run(50);
    CHECK(allocations.count() == 0);
    await(one);
    await(other);
  });
}
