// Barrier: modern row 17.
#include <tulp/barrier.hpp>
#include <tulp/error.hpp>
#include <tulp/wait.hpp>

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <vector>

#include "support/cancel_points.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Tasks that come to the barrier in this order.
std::vector<Task<std::size_t>> parties(Barrier& barrier, int count) {
  std::vector<Task<std::size_t>> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back(create_task([&barrier] { return barrier.wait(); }));
  let_others_run();
  return tasks;
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a barrier holds tasks up until all are there, and tells each in which place it came") {
  run([&] {
    Barrier barrier(3);
    CHECK(barrier.parties() == 3);
    auto tasks = parties(barrier, 2);
    let_others_run(3);
    CHECK(barrier.n_waiting() == 2);
    CHECK_FALSE(tasks[0].done());
    CHECK(barrier.wait() == 2);
    CHECK(barrier.n_waiting() == 0);
    CHECK(await(tasks[0]) == 0);
    CHECK(await(tasks[1]) == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "the last one to come does not park, and a barrier for one holds nobody up") {
  run([&] {
    Barrier barrier(1);
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    CHECK(barrier.wait() == 0);
    CHECK(barrier.wait() == 0);
    CHECK_FALSE(others_ran);
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "a barrier keeps tasks in step, round after round") {
  run([&] {
    Barrier barrier(3);
    std::vector<int> rounds(3);
    std::vector<Task<>> tasks;
    for (std::size_t i = 0; i < rounds.size(); ++i) {
      tasks.push_back(create_task([&, i] {
        for (int round = 0; round < 10; ++round) {
          for (const int other : rounds) CHECK((other == round || other == round + 1));
          let_others_run(static_cast<int>(i));
          ++rounds[i];
          barrier.wait();
          CHECK(rounds[(i + 1) % 3] >= round + 1);
        }
      }));
    }
    for (auto& task : tasks) await(task);
    CHECK(barrier.n_waiting() == 0);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a task that is cancelled at a barrier is not there any more, and leaves no gap in the places") {
  run([&] {
    Barrier barrier(3);
    auto tasks = parties(barrier, 2);
    tasks[0].cancel();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    CHECK(barrier.n_waiting() == 1);
    CHECK_FALSE(barrier.broken());
    auto third = parties(barrier, 1);
    CHECK_FALSE(tasks[1].done());
    CHECK(barrier.wait() == 2);
    CHECK(await(tasks[1]) == 0);
    CHECK(await(third[0]) == 1);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a task that is cancelled, or a barrier that is aborted, when all were there, has passed it") {
  run([&] {
    Barrier barrier(3);
    auto tasks = parties(barrier, 2);
    barrier.wait();
    tasks[0].cancel();
    barrier.abort();
    CHECK(await(tasks[0]) == 0);
    CHECK(await(tasks[1]) == 1);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "wherever a task is cancelled at a barrier, the others pass it once somebody takes its place") {
  run([&] {
    std::optional<Barrier> barrier;
    const auto start = [&] {
      barrier.emplace(3);
      std::vector<Task<>> tasks;
      for (int i = 0; i < 3; ++i) {
        tasks.push_back(create_task([&, i] {
          let_others_run(i);
          barrier->wait();
        }));
      }
      // Comes in the place of one that was cancelled; if none was, nobody is there.
      tasks.push_back(create_task([&, parties = tasks] {
        const CancelShield until_they_have_ended;
        let_others_run(10);
        if (barrier->n_waiting() == 2) CHECK(barrier->wait() == 2);
        CHECK(barrier->n_waiting() == 0);
      }));
      return tasks;
    };
    cancel_at_each_point(5, start, [&](const std::vector<Task<>>&, std::size_t) { CHECK_FALSE(barrier->broken()); });
  });
}

TEST_CASE_METHOD(LoopTest, "abort() throws BrokenBarrierError in all who wait and in all who come, until reset()") {
  run([&] {
    Barrier barrier(3);
    auto tasks = parties(barrier, 2);
    barrier.abort();
    CHECK(barrier.broken());
    CHECK(barrier.n_waiting() == 0);
    for (auto& task : tasks) CHECK_THROWS_AS(await(task), BrokenBarrierError);
    CHECK_THROWS_AS(barrier.wait(), BrokenBarrierError);
    barrier.reset();
    CHECK_FALSE(barrier.broken());
    auto again = parties(barrier, 2);
    CHECK(barrier.wait() == 2);
    for (auto& task : again) await(task);
  });
}

TEST_CASE_METHOD(LoopTest, "reset() throws BrokenBarrierError in all who wait, and leaves the barrier as new") {
  run([&] {
    Barrier barrier(2);
    auto tasks = parties(barrier, 1);
    loop().call_soon([&] { barrier.reset(); });
    CHECK_THROWS_AS(await(tasks[0]), BrokenBarrierError);
    CHECK_FALSE(barrier.broken());
    auto again = parties(barrier, 1);
    CHECK(barrier.wait() == 1);
    CHECK(await(again[0]) == 0);
  });
}

TEST_CASE_METHOD(LoopTest, "a barrier for nobody is an error, and so is waiting outside a task") {
  CHECK_THROWS_AS(Barrier(0), std::invalid_argument);
  CHECK_THROWS_AS(Barrier(-1), std::invalid_argument);
  Barrier barrier(1);
  CHECK_THROWS_AS(barrier.wait(), InvalidStateError);
  CHECK(barrier.n_waiting() == 0);
}
