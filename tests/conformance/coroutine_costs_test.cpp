// What coroutines cost: allocations, counted.
#include "support/allocations.hpp"
#include "support/coroutines.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "a coroutine is one allocation, whether it waits or not") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;
  run([] {
    const AllocationCount at_once;
    CHECK(give(1).result() == 1);
    CHECK(at_once.count() == 1);
    Future<> future;
    const AllocationCount waiting;
    auto ended = wait_until(future);
    future.set_result();
    let_others_run();
    CHECK(ended.done());
    CHECK(waiting.count() == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "co_await allocates nothing, for a future that is done and for one to wait for") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;
  run([] {
    const AllocationCount count;
    auto yields = yield_times(100);
    let_others_run(101);
    CHECK(yields.done());
    CHECK(count.count() == 1);
    const auto body = []() -> Future<> {
      const AllocationCount inside;
      for (int i = 0; i < 100; ++i) co_await give(i);
      CHECK(inside.count() == 100);  // the coroutines themselves
      for (int i = 0; i < 100; ++i) co_await yield_times(1);
      CHECK(inside.count() == 200);
    };
    await(body());
  });
}
