// with_timeout: the second list of semantics, row 7, and what the design adds.
#include <tulp/wait.hpp>

#include <functional>
#include <optional>
#include <stdexcept>

#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(InVirtualTime<>, "with_timeout returns what its function returns in time") {
  run([] {
    CHECK(with_timeout(1h, [] { return 5; }) == 5);
    CHECK(with_timeout(Duration::max(), [] { return std::string("no limit"); }) == "no limit");
    bool ran = false;
    with_timeout(1h, [&] { sleep(1us), ran = true; });
    CHECK(ran);
    CHECK(current_task().cancelling() == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "with_timeout cancels its function when the limit has passed, not before, and throws TimeoutError") {
  run([&] {
    const TimePoint start = loop().time();
    Trace trace;
    CHECK_THROWS_AS(with_timeout(2ms,
                                 [&] {
                                   try {
                                     sleep(1h);
                                   } catch (const CancelledError&) {
                                     trace.push_back("cancelled");
                                     throw;
                                   }
                                 }),
                    TimeoutError);
    CHECK(trace == Trace{"cancelled"});
    CHECK(loop().time() >= start + 2ms);
    CHECK(loop().time() < start + 1h);
    CHECK(current_task().cancelling() == 0);
    sleep(0s);  // nothing is left over
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a limit that is zero or negative has passed at the first park") {
  run([] {
    CHECK_THROWS_AS(with_timeout(0s, [] { sleep(1h); }), TimeoutError);
    CHECK_THROWS_AS(with_timeout(-1h, [] { sleep(1h); }), TimeoutError);
    CHECK(with_timeout(0s, [] { return 1; }) == 1);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "what the function throws passes through") {
  run([] {
    CHECK_THROWS_AS(with_timeout(1h, [] { throw Boom(); }), Boom);
    // Also if it is its answer to the cancellation.
    CHECK_THROWS_AS(with_timeout(1ms,
                                 [] {
                                   try {
                                     sleep(1h);
                                   } catch (const CancelledError&) {
                                     throw Boom();
                                   }
                                 }),
                    Boom);
    CHECK(current_task().cancelling() == 0);
    sleep(0s);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a function that answers the cancellation with a value has that result") {
  run([] {
    CHECK(with_timeout(1ms, [] {
            try {
              sleep(1h);
            } catch (const CancelledError&) {
            }
            return 4;
          }) == 4);
    sleep(0s);
    CHECK(current_task().cancelling() == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a cancellation from outside is no timeout") {
  run([] {
    auto task = create_task([] { with_timeout(1h, [] { sleep(1h); }); });
    let_others_run();
    task.cancel("outside");
    CHECK_THROWS_WITH(await(task), Catch::Contains("outside"));
    CHECK(task.cancelled());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a cancellation from outside together with a timeout stays a cancellation") {
  run([] {
    auto task = create_task([] {
      with_timeout(1ms, [] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          current_task().cancel("outside");
          throw;
        }
      });
    });
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(task.cancelled());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "of nested limits the one that passed throws") {
  run([] {
    Trace trace;
    CHECK_THROWS_AS(with_timeout(1ms,
                                 [&] {
                                   try {
                                     with_timeout(1h, [] { sleep(2h); });
                                   } catch (const TimeoutError&) {
                                     trace.push_back("the inner one");
                                   }
                                 }),
                    TimeoutError);
    CHECK(trace.empty());
    with_timeout(1h, [&] {
      try {
        with_timeout(1ms, [] { sleep(2h); });
      } catch (const TimeoutError&) {
        trace.push_back("the inner one");
      }
      sleep(1us);
    });
    CHECK(trace == Trace{"the inner one"});
    // Both at once: the outer one wins.
    CHECK_THROWS_AS(with_timeout(0s,
                                 [&] {
                                   try {
                                     with_timeout(0s, [] { sleep(1h); });
                                   } catch (const TimeoutError&) {
                                     trace.push_back("then the outer one");
                                   }
                                   sleep(1h);
                                 }),
                    TimeoutError);
    CHECK(current_task().cancelling() == 0);
    sleep(0s);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a limit cancels the task that is waited for, and waits for its cleanup") {
  run([] {
    Trace trace;
    auto child = create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        const CancelShield shield;
        let_others_run(3);
        trace.push_back("cleaned up");
        throw;
      }
    });
    CHECK_THROWS_AS(with_timeout(1ms, [&] { await(child); }), TimeoutError);
    CHECK(trace == Trace{"cleaned up"});
    CHECK(child.cancelled());
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a result that was there in time is returned, though the limit passed before the task could run") {
  run([&] {
    Future<int> future;
    // Due first, and thus queued first: the task has its result when the limit passes.
    loop().call_later(1ms, [&] { future.set_result(6); });
    auto task = create_task([&] {
      const int value = with_timeout(1ms, [&] { return await(future); });
      sleep(0s);  // no stray CancelledError
      return value;
    });
    CHECK(await(task) == 6);
    CHECK(task.cancelling() == 0);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "no CancelledError of a limit is left over in a task that swallowed a cancellation before") {
  run([&] {
    Future<int> future;
    auto task = create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
      }
      const int value = with_timeout(1ms, [&] { return await(future); });
      sleep(0s);
      return value;
    });
    let_others_run();
    task.cancel();
    loop().call_later(1ms, [&] { future.set_result(6); });  // set before the limit is
    CHECK(await(task) == 6);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a limit that passes together with the sleep that it limits has passed") {
  run([&] {
    auto task = create_task([] { CHECK_THROWS_AS(with_timeout(1ms, [] { sleep(1ms); }), TimeoutError); });
    let_others_run();
    let_pass(3ms);
    await(task);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "with_timeout outside a task throws InvalidStateError") {
  CHECK_THROWS_AS(with_timeout(1h, [] { return 1; }), InvalidStateError);
  loop().call_soon([] { CHECK_THROWS_AS(with_timeout(1h, [] { return 1; }), InvalidStateError); });
  run_once();
}

TEST_CASE_METHOD(InVirtualTime<>, "an exception out of with_timeout takes its timer away") {
  run([&] {
    CHECK_THROWS_AS(with_timeout(1h, [] { throw Boom(); }), Boom);
    with_timeout(1h, [] {});
    const TimePoint start = loop().time();
    sleep(1us);  // a manual clock would jump to whatever timer is left
    CHECK(loop().time() < start + 30min);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a deadline is a time of the loop's clock, and one that has passed is over at the first park") {
  run([&] {
    const TimePoint deadline = loop().time() + 2ms;
    CHECK_THROWS_AS(with_timeout(deadline, [] { sleep(1h); }), TimeoutError);
    CHECK(loop().time() >= deadline);
    CHECK_THROWS_AS(with_timeout(deadline, [] { sleep(1h); }), TimeoutError);
    CHECK(with_timeout(deadline, [] { return 1; }) == 1);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a function that takes a Timeout& sees when its time is over, and whether it is") {
  run([&] {
    const TimePoint deadline = loop().time() + 1h;
    with_timeout(deadline, [&](Timeout& timeout) {
      CHECK(timeout.when() == deadline);
      CHECK_FALSE(timeout.expired());
    });
    with_timeout(Duration::max(), [](Timeout& timeout) { CHECK_FALSE(timeout.when()); });
    bool was_expired = false;
    const auto body = [&](Timeout& timeout) {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        was_expired = timeout.expired();
        CHECK_THROWS_AS(timeout.reschedule(1h), InvalidStateError);
        throw;
      }
    };
    CHECK_THROWS_AS(with_timeout(1ms, body), TimeoutError);
    CHECK(was_expired);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a limit can be moved from inside, to a later time, an earlier one, never, or one that has passed") {
  run([&] {
    const int value = with_timeout(1ms, [&](Timeout& timeout) {
      timeout.reschedule(1h);
      sleep(5ms);
      return 3;
    });
    CHECK(value == 3);
    CHECK_THROWS_AS(with_timeout(1h,
                                 [](Timeout& timeout) {
                                   timeout.reschedule(1ms);
                                   sleep(1h);
                                 }),
                    TimeoutError);
    with_timeout(1ms, [](Timeout& timeout) {
      timeout.reschedule(std::nullopt);
      sleep(5ms);
    });
    CHECK_THROWS_AS(with_timeout(1h,
                                 [&](Timeout& timeout) {
                                   timeout.reschedule(loop().time() - 1s);
                                   sleep(1h);
                                 }),
                    TimeoutError);
    CHECK(current_task().cancelling() == 0);
    sleep(0s);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "TimeoutError names the limit, also one that was moved") {
  run([&] {
    CHECK_THROWS_WITH(with_timeout(1ms, [] { sleep(1h); }), "timed out after 0.001 s");
    const auto body = [&](Timeout& timeout) {
      timeout.reschedule(*timeout.when() - 1h + 2ms);
      sleep(1h);
    };
    CHECK_THROWS_WITH(with_timeout(1h, body), "timed out after 0.002 s");
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a limit within cleanup cuts the cleanup short, and the cancellation from outside goes on") {
  run([] {
    Trace trace;
    auto task = create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        try {
          with_timeout(1ms, [] { sleep(1h); });
        } catch (const TimeoutError&) {
          trace.push_back("cleanup took too long");
        }
        throw;
      }
    });
    let_others_run();
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(task.cancelled());
    CHECK(trace == Trace{"cleanup took too long"});
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "limits may be nested deeply; of those that are over at once the outermost throws") {
  run([] {
    int expired_count = 0;
    std::function<void(int)> nest = [&](int left) {
      if (left == 0) return sleep(1h);
      try {
        with_timeout(1ms, [&] { nest(left - 1); });
      } catch (const TimeoutError&) {
        ++expired_count;
        sleep(1h);
      }
    };
    CHECK_THROWS_AS(with_timeout(1ms, [&] { nest(50); }), TimeoutError);
    CHECK(expired_count == 0);
    CHECK(current_task().cancelling() == 0);
    sleep(0s);
  });
}
