// wait, as_completed, shield and wait_for: the second list of semantics, rows 2, 3, 5 and 6.
#include <tulp/wait.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

template <class H>
void cancel_all(const std::vector<H>& tasks) {
  for (H task : tasks) task.cancel();
  let_others_run(3);
}

}  // namespace

TEST_CASE_METHOD(InVirtualTime<>,
                 "wait returns when all are done, and tells done from pending, each once and in order") {
  run([] {
    const std::vector tasks{number_after(2ms, 1), number_after(1ms, 2)};
    const auto [done, pending] = wait(std::vector{tasks[0], tasks[1], tasks[0]});
    CHECK(pending.empty());
    REQUIRE(done.size() == 2);
    CHECK(done[0].result() == 1);
    CHECK(done[1].result() == 2);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "wait with FIRST_COMPLETED returns with the first, and cancels none of the others") {
  run([] {
    std::vector tasks{number_after(1h, 1), number_after(1ms, 2), number_after(2h, 3)};
    const auto [done, pending] = wait(tasks, {.return_when = FIRST_COMPLETED});
    REQUIRE(done.size() == 1);
    CHECK(done[0].result() == 2);
    CHECK(pending.size() == 2);
    CHECK(tasks[0].cancelling() == 0);
    cancel_all(pending);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "wait with FIRST_EXCEPTION returns with the first failure, which a cancellation is not") {
  run([] {
    auto cancelled = number_after(1h, 1);
    auto failing = create_task([]() -> int { sleep(2ms), throw Boom(); });
    auto late = number_after(1h, 3);
    cancelled.cancel();
    const auto [done, pending] = wait(std::vector{cancelled, failing, late}, {.return_when = FIRST_EXCEPTION});
    CHECK(done.size() == 2);
    CHECK(pending.size() == 1);
    CHECK_THROWS_AS(failing.result(), Boom);
    cancel_all(pending);
    const auto [all, none] =
        wait(std::vector{number_after(1ms, 1), number_after(2ms, 2)}, {.return_when = FIRST_EXCEPTION});
    CHECK(all.size() == 2);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "wait with a timeout returns what there is by then, and throws nothing") {
  run([&] {
    const TimePoint start = loop().time();
    const auto [done, pending] = wait(std::vector{number_after(1ms, 1), number_after(1h, 2)}, {.timeout = 20ms});
    CHECK(loop().time() >= start + 20ms);
    CHECK(loop().time() < start + 30min);
    CHECK(done.size() == 1);
    CHECK(pending.size() == 1);
    cancel_all(pending);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "wait looks at no result: an error that nobody asks for is reported") {
  run([] { wait(std::vector{create_task([] { throw Boom(); })}, {.return_when = FIRST_EXCEPTION}); });
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(InVirtualTime<>, "wait lets others run once even if all are done") {
  run([&] {
    Future<> done;
    done.set_result();
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    wait(std::vector{done});
    CHECK(others_ran);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "wait takes tasks of any type") {
  run([] {
    auto number = number_after(1ms, 1);
    auto nothing = create_task([] { sleep(0s); });
    const auto result = wait(std::vector<TaskHandle>{number, nothing});
    CHECK(result.done.size() == 2);
    CHECK_THROWS_AS(wait(std::vector{TaskHandle()}), InvalidStateError);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a cancelled wait leaves its futures alone") {
  run([] {
    auto task = number_after(1h, 1);
    auto waiting = create_task([=] { wait(std::vector{task}); });
    let_others_run();
    waiting.cancel();
    CHECK_THROWS_AS(await(waiting), FutureCancelledError);
    CHECK(waiting.cancelled());
    CHECK(task.cancelling() == 0);
    cancel_all(std::vector{task});
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "wait for nothing is an error, and so is one outside a task or for another loop's future") {
  const auto other = new_event_loop();
  CHECK_THROWS_AS(wait(std::vector{Future<>()}), InvalidStateError);
  run([&] {
    CHECK_THROWS_AS(wait(std::vector<Task<>>()), std::invalid_argument);
    CHECK_THROWS_AS(wait(std::vector{Future<>(*other)}), InvalidStateError);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "as_completed gives the futures that it was given in the order of their ends") {
  run([] {
    std::vector tasks{number_after(3ms, 3), number_after(1ms, 1), number_after(2ms, 2)};
    tasks.push_back(tasks[0]);
    std::vector<int> order;
    for (const Task<int>& task : as_completed(tasks)) order.push_back(task.result());
    CHECK(order == std::vector{1, 2, 3});
    for (const Task<int>& task : as_completed(std::vector<Task<int>>())) order.push_back(task.result());
    CHECK(order.size() == 3);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "as_completed can be left early, and those that are left run on") {
  run([] {
    bool ran = false;
    const std::vector tasks{create_task([&] { sleep(2ms), ran = true; }), create_task([] { sleep(1ms); })};
    for (const auto& task : as_completed(tasks)) {
      CHECK(task == tasks[1]);
      break;
    }
    await(tasks[0]);
    CHECK(ran);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "the time of as_completed is for all of them, and what had ended by then still comes") {
  run([&] {
    const std::vector tasks{number_after(1ms, 1), number_after(1h, 2)};
    int count = 0;
    const auto go_through = [&] {
      for (const auto& task : as_completed(tasks, {.timeout = 10ms})) {
        CHECK(task.result() == 1);
        ++count;
        let_pass(20ms);
      }
    };
    CHECK_THROWS_WITH(go_through(), "as_completed: 1 not done after 0.01 s");
    CHECK(count == 1);
    CHECK(tasks[1].cancelling() == 0);
    cancel_all(tasks);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a step of as_completed that is cancelled leaves the futures alone") {
  run([] {
    auto task = number_after(1h, 1);
    auto going = create_task([=] {
      for (const auto& ended : as_completed(std::vector{task})) static_cast<void>(ended);
    });
    let_others_run();
    going.cancel();
    CHECK_THROWS_AS(await(going), FutureCancelledError);
    CHECK(task.cancelling() == 0);
    cancel_all(std::vector{task});
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "as_completed throws InvalidStateError outside a task") {
  Future<> future;
  auto range = as_completed(std::vector{future});
  CHECK_THROWS_AS(range.begin(), InvalidStateError);
}

TEST_CASE_METHOD(InVirtualTime<>, "a shield keeps the cancellation of who waits from what is waited for") {
  run([] {
    auto inner = number_after(1ms, 5);
    auto waiting = create_task([=] { await(shield(inner)); });
    let_others_run();
    waiting.cancel();
    CHECK_THROWS_AS(await(waiting), FutureCancelledError);
    CHECK(waiting.cancelled());
    CHECK(inner.cancelling() == 0);
    CHECK(await(inner) == 5);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a shield ends as what it protects does: with the value, the error, or the cancellation") {
  run([] {
    CHECK(await(shield(number_after(1ms, 6))) == 6);
    CHECK(*await(shield(create_task([] { return std::make_unique<int>(7); }))) == 7);
    CHECK_THROWS_AS(await(shield(create_task([] { throw Boom(); }))), Boom);
    Future<> inner;
    auto outer = shield(inner);
    inner.cancel("from inside");
    CHECK_THROWS_WITH(await(outer), Catch::Contains("from inside"));
    CHECK(outer.cancelled());
    auto done = create_task([] { return 8; });
    await(done);
    CHECK(shield(done) == done);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "the failure of what a cancelled shield protects is reported") {
  run([] {
    auto outer = shield(create_task([] { sleep(0s), throw Boom(); }));
    outer.cancel();
    CHECK(outer.cancelled());
    let_others_run(6);
  });
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(InVirtualTime<>, "wait_for gives what its future gives in time") {
  run([] {
    CHECK(wait_for(number_after(1ms, 9), 1h) == 9);
    CHECK(wait_for(number_after(1ms, 9), Duration::max()) == 9);
    CHECK_THROWS_AS(wait_for(create_task([] { throw Boom(); }), 1h), Boom);
    Future<> cancelled;
    cancelled.cancel();
    CHECK_THROWS_AS(wait_for(cancelled, 1h), FutureCancelledError);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "wait_for cancels its task at the limit, waits for its cleanup, and then throws TimeoutError") {
  run([] {
    Trace trace;
    auto task = create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        const CancelShield shield;
        let_others_run(3);
        trace.push_back("cleaned up");
        throw;
      }
    });
    CHECK_THROWS_WITH(wait_for(task, 1ms), "timed out after 0.001 s");
    CHECK(trace == Trace{"cleaned up"});
    CHECK(task.cancelled());
    CHECK(current_task().cancelling() == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "an error, or a value, that a task gives in answer to the limit of wait_for wins") {
  run([] {
    const auto answer = [](bool fails) {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        if (fails) throw Boom();
      }
      return 3;
    };
    for (const Duration limit : {Duration(1ms), Duration::zero()}) {
      auto failing = create_task(answer, true);
      auto giving = create_task(answer, false);
      let_others_run();
      CHECK_THROWS_AS(wait_for(failing, limit), Boom);
      CHECK(wait_for(giving, limit) == 3);
    }
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "wait_for with no time left gives what is there, and else cancels without letting it begin") {
  run([] {
    for (const Duration limit : {Duration::zero(), Duration(-1h)}) {
      bool ran = false;
      auto task = create_task([&] { ran = true; });
      CHECK_THROWS_AS(wait_for(task, limit), TimeoutError);
      CHECK_FALSE(ran);
      CHECK(task.cancelled());
      Future<int> done;
      done.set_result(4);
      CHECK(wait_for(done, limit) == 4);
    }
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "wait_for leaves a future alone that somebody else waits for, or that is shielded") {
  run([] {
    for (const Duration limit : {Duration(1ms), Duration::zero()}) {
      Future<int> shared;
      auto other = create_task([=] { return await(shared); });
      let_others_run();
      CHECK_THROWS_AS(wait_for(shared, limit), TimeoutError);
      CHECK_THROWS_AS(wait_for(shield(shared), limit), TimeoutError);
      CHECK_FALSE(shared.done());
      shared.set_result(1);
      CHECK(await(other) == 1);
    }
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "wait_for outside a task throws InvalidStateError") {
  CHECK_THROWS_AS(wait_for(Future<>(), 1s), InvalidStateError);
  CHECK_THROWS_AS(wait_for(Future<>(), 0s), InvalidStateError);
}
