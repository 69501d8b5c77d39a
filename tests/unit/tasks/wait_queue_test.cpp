#include <tulp/detail/wait_queue.hpp>
#include <tulp/task.hpp>

#include "support/allocations.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
struct Queue {
  Task<> waiter(const char* name) {
    auto task = create_task([this, name] {
      waiting.wait();
      trace.push_back(name);
    });
    let_others_run();
    return task;
  }
  detail::WaitQueue waiting;
  Trace trace;
};
}  // namespace

TEST_CASE_METHOD(LoopTest, "a WaitQueue wakes tasks in the order in which they came, one or all") {
  run([] {
    Queue queue;
    auto a = queue.waiter("a"), b = queue.waiter("b"), c = queue.waiter("c");
    queue.waiting.wake_one();
    let_others_run();
    CHECK(queue.trace == Trace{"a"});
    queue.waiting.wake_all();
    CHECK(queue.waiting.empty());
    let_others_run();
    CHECK(queue.trace == Trace{"a", "b", "c"});
    queue.waiting.wake_one();  // nobody there
  });
}

TEST_CASE_METHOD(LoopTest, "a cancelled waiter has left the queue, and takes no wake-up along") {
  run([] {
    Queue queue;
    auto a = queue.waiter("a"), b = queue.waiter("b");
    a.cancel();
    queue.waiting.wake_one();
    await(b);
    CHECK(queue.trace == Trace{"b"});
    CHECK_THROWS_AS(await(a), FutureCancelledError);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a waiter that has been woken and is cancelled then returns, and is cancelled at its next park") {
  run([] {
    Queue queue;
    auto a = create_task([&] {
      queue.waiting.wait();
      queue.trace.push_back("woken");
      let_others_run();
      queue.trace.push_back("not reached");
    });
    let_others_run();
    queue.waiting.wake_one();
    a.cancel();
    CHECK_THROWS_AS(await(a), FutureCancelledError);
    CHECK(queue.trace == Trace{"woken"});
  });
}
