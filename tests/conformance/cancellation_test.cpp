// Cancellation: semantics rows 27 and 28, and what the design adds to them.
#include <tulp/no_park_scope.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fiber/sanitizer.hpp"
#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

static_assert(!std::is_base_of_v<std::exception, CancelledError>, "catch (const std::exception&) lets it pass");
static_assert(std::is_base_of_v<std::runtime_error, FutureCancelledError>);

namespace {
/// A task that waits for `future`, begun.
template <class T>
Task<T> waiter_of(const Future<T>& future) {
  auto task = create_task([future] { return await(future); });
  let_others_run();
  return task;
}

template <class T>
void check_ends_cancelled(const Task<T>& task) {
  CHECK_THROWS_AS(await(task), FutureCancelledError);
  CHECK(task.cancelled());
}
}  // namespace

TEST_CASE_METHOD(LoopTest,
                 "cancel() returns true for a task that has not ended, and false, without effect, for one that has") {
  run([&] {
    auto task = create_task([] { return 1; });
    await(task);
    CHECK_FALSE(task.cancel());
    CHECK_FALSE(task.cancelled());
    CHECK(task.result() == 1);
    CHECK(task.cancelling() == 0);
    auto pending = create_task([] { sleep(1h); });
    CHECK(pending.cancel());
    check_ends_cancelled(pending);
    CHECK_FALSE(pending.cancel());
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a task that is cancelled before its first step never runs, and what it captured is destroyed") {
  run([&] {
    auto held = std::make_shared<int>();
    bool ran = false;
    auto task = create_task([&ran, held] { ran = true; });
    CHECK(task.cancel("too late"));
    CHECK_FALSE(task.done());
    CHECK_THROWS_WITH(await(task), Catch::Contains("too late"));
    CHECK_FALSE(ran);
    CHECK(held.use_count() == 1);
    CHECK(task.cancelled());
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a parked task gets CancelledError at its park, never at once, and its destructors run in order") {
  run([&] {
    Trace trace;
    auto task = create_task([&] {
      const AtEnd outer{[&] { trace.push_back("outer"); }};
      const AtEnd inner{[&] { trace.push_back("inner"); }};
      try {
        sleep(1h);
      } catch (const CancelledError& error) {
        trace.push_back("cancelled: " + error.message());
        throw;
      }
    });
    let_others_run();
    task.cancel("enough");
    CHECK(trace.empty());
    CHECK_FALSE(task.done());
    CHECK_THROWS_WITH(await(task), Catch::Contains("enough"));
    CHECK(trace == Trace{"cancelled: enough", "inner", "outer"});
  });
}

TEST_CASE_METHOD(LoopTest, "a cancelled sleep takes its timer away") {
  run([&] {
    const TimePoint start = loop().time();
    auto task = create_task([] { sleep(1h); });
    let_others_run();
    task.cancel();
    check_ends_cancelled(task);
    sleep(1us);  // a manual clock would jump to whatever timer is left
    CHECK(loop().time() < start + 30min);
  });
}

TEST_CASE_METHOD(LoopTest, "cancel() through a Future handle, and through a TaskHandle, cancels the task") {
  run([&] {
    auto task = create_task([] { sleep(1h); });
    let_others_run();
    SECTION("Future") { CHECK(Future<>(task).cancel()); }
    SECTION("TaskHandle") { CHECK(TaskHandle(task).cancel()); }
    CHECK_FALSE(task.done());
    CHECK(task.cancelling() == 1);
    check_ends_cancelled(task);
  });
}

TEST_CASE_METHOD(LoopTest, "a task that is ready to run gets CancelledError at its next park") {
  run([&] {
    bool was_cancelled = false;
    auto task = create_task([&] {
      try {
        sleep(0s);
      } catch (const CancelledError&) {
        was_cancelled = true;
        throw;
      }
    });
    let_others_run();  // now it stands in the queue
    task.cancel();
    check_ends_cancelled(task);
    CHECK(was_cancelled);
  });
}

// The result and the cancellation.

TEST_CASE_METHOD(LoopTest, "a result wins over a cancellation that comes behind it, which comes at the next park") {
  run([&] {
    Future<std::string> data;
    Trace trace;
    auto task = create_task([&, data] {
      trace.push_back(await(data));
      sleep(0s);
      trace.push_back("not reached");
    });
    let_others_run();
    data.set_result("data");
    task.cancel();  // the task has been woken with its data
    check_ends_cancelled(task);
    CHECK(trace == Trace{"data"});
  });
}

TEST_CASE_METHOD(LoopTest, "a late cancel does not discard the value of a task that never parks again") {
  run([&] {
    Future<int> data;
    auto task = waiter_of(data);
    data.set_result(42);
    CHECK(task.cancel());
    CHECK(await(task) == 42);
    CHECK_FALSE(task.cancelled());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a timer that has fired wins over a cancellation that comes behind it") {
  run([&] {
    bool slept = false;
    auto task = create_task([&] {
      sleep(1ms);
      slept = true;
    });
    let_others_run();
    // Due with the sleeper's timer or behind it, but in the same batch: the sleeper stands in the queue.
    Task<>* cancelled = &task;
    sleep(1ms);
    if (!task.done()) cancelled->cancel();
    if (slept) {
      await(task);
    } else {
      CHECK_THROWS_AS(await(task), FutureCancelledError);
    }
  });
}

TEST_CASE_METHOD(LoopTest, "a task that catches CancelledError and returns a value has that result") {
  run([&] {
    auto task = create_task([] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
      }
      return 7;
    });
    let_others_run();
    task.cancel();
    CHECK(await(task) == 7);
    CHECK_FALSE(task.cancelled());
    CHECK(task.cancelling() == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "a task that answers its cancellation with another exception has failed with that") {
  run([&] {
    auto task = create_task([] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        throw Boom();
      }
    });
    let_others_run();
    task.cancel();
    CHECK_THROWS_AS(await(task), Boom);
    CHECK_FALSE(task.cancelled());
  });
}

TEST_CASE_METHOD(LoopTest, "a task that cancels itself and returns without a park ends cancelled") {
  run([&] {
    auto task = create_task([] {
      current_task().cancel("by myself");
      return 1;
    });
    check_ends_cancelled(task);
    CHECK_THROWS_WITH(task.result(), Catch::Contains("by myself"));
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a task that cancels itself gets CancelledError at its next park, and not from a done future") {
  run([&] {
    Trace trace;
    Future<int> done;
    done.set_result(1);
    auto task = create_task([&] {
      current_task().cancel();
      trace.push_back("cancelled");
      await(done);  // does not park
      trace.push_back("had the value");
      sleep(0s);
      trace.push_back("not reached");
    });
    check_ends_cancelled(task);
    CHECK(trace == Trace{"cancelled", "had the value"});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a cancellation that was swallowed is not repeated; a second request is a second cancellation") {
  run([&] {
    Trace trace;
    auto task = create_task([&] {
      for (int i = 0; i < 2; ++i) {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          trace.push_back("swallowed");
        }
        let_others_run(2);
      }
    });
    let_others_run();
    task.cancel();
    let_others_run(4);
    CHECK(trace == Trace{"swallowed"});
    CHECK(task.cancelling() == 1);
    task.cancel();
    CHECK(task.cancelling() == 2);
    await(task);
    CHECK(trace.size() == 2);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "two requests before the delivery of the first are one CancelledError, whatever the task waits for") {
  run([&] {
    Future<> future;
    std::function<void()> park;
    SECTION("a timer") {
      park = [] { sleep(1h); };
    }
    SECTION("its turn") {
      park = [] { sleep(0s); };
    }
    SECTION("a future of its own") {
      park = [=] { await(future); };
    }
    SECTION("a task") {
      park = [] { await(create_task([] { sleep(1h); })); };
    }
    int deliveries = 0;
    auto task = create_task([&] {
      try {
        park();
      } catch (const CancelledError&) {
        ++deliveries;
      }
      try {
        let_others_run(2);
      } catch (const CancelledError&) {
        ++deliveries;
      }
    });
    let_others_run(2);
    task.cancel();
    task.cancel();
    await(task);
    CHECK(deliveries == 1);
    CHECK(task.cancelling() == 2);
  });
}

TEST_CASE_METHOD(LoopTest, "uncancel() takes a request back; with the last one goes what is not delivered yet") {
  run([&] {
    auto task = create_task([] {
      TaskHandle me = current_task();
      me.cancel();
      me.cancel();
      CHECK(me.cancelling() == 2);
      CHECK(me.uncancel() == 1);
      CHECK(me.uncancel() == 0);
      CHECK(me.uncancel() == 0);
      sleep(0s);
      return 1;
    });
    CHECK(await(task) == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "a CancelledError that a body throws by itself ends the task as cancelled") {
  run([&] {
    auto task = create_task([] { throw CancelledError("own"); });
    check_ends_cancelled(task);
    CHECK(task.cancelling() == 0);
  });
}

// What the task waits for.

TEST_CASE_METHOD(LoopTest, "cancelling the only waiter cancels the future that it waits for; handles do not count") {
  run([&] {
    Future<int> future;
    const Future<int> handle = future;
    auto task = waiter_of(future);
    task.cancel("not wanted");
    check_ends_cancelled(task);
    CHECK(handle.cancelled());
    CHECK_THROWS_WITH(handle.result(), Catch::Contains("not wanted"));
  });
}

TEST_CASE_METHOD(LoopTest, "cancelling one of several waiters leaves the future to the others") {
  run([&] {
    Future<int> future;
    auto one = waiter_of(future);
    auto other = waiter_of(future);
    one.cancel();
    check_ends_cancelled(one);
    CHECK_FALSE(future.done());
    future.set_result(8);
    CHECK(await(other) == 8);
  });
}

TEST_CASE_METHOD(LoopTest, "a done callback counts as somebody who waits") {
  run([&] {
    Future<int> future;
    int seen = 0;
    future.add_done_callback([&](const Future<int>& f) { seen = f.result(); });
    auto task = waiter_of(future);
    task.cancel();
    check_ends_cancelled(task);
    CHECK_FALSE(future.done());
    future.set_result(8);
    let_others_run();
    CHECK(seen == 8);
  });
}

TEST_CASE_METHOD(
    LoopTest, "who is cancelled while waiting for a task stays until that has ended, so that it may use his locals") {
  run([&] {
    Trace trace;
    auto parent = create_task([&] {
      std::string local = "alive";
      const AtEnd gone{[&] { trace.push_back("parent's locals go"); }};
      auto child = create_task([&] {
        const AtEnd cleanup{[&] {
          let_others_run(3);  // deferred while unwinding, thus not disturbed
          trace.push_back("child sees " + local);
        }};
        sleep(1h);
      });
      await(child);
    });
    let_others_run(2);
    parent.cancel();
    check_ends_cancelled(parent);
    CHECK(trace == Trace{"child sees alive", "parent's locals go"});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a task that was cancelled with its waiter and ends with a value or an error gives the waiter that") {
  run([&] {
    const auto parent_of = [](auto answer) {
      auto parent = create_task([answer] {
        return await(create_task([answer]() -> int {
          try {
            sleep(1h);
          } catch (const CancelledError&) {
          }
          return answer();
        }));
      });
      let_others_run(2);
      parent.cancel();
      return parent;
    };
    auto value = parent_of([] { return 5; });
    CHECK(await(value) == 5);
    auto failure = parent_of([]() -> int { throw Boom(); });
    CHECK_THROWS_AS(await(failure), Boom);
  });
}

TEST_CASE_METHOD(LoopTest, "a child that somebody else waits for too survives the cancellation of one waiter") {
  run([&] {
    auto child = create_task([] {
      let_others_run(6);
      return 3;
    });
    auto one = create_task([child] { return await(child); });
    auto other = create_task([child] { return await(child); });
    let_others_run();
    one.cancel();
    check_ends_cancelled(one);
    CHECK(child.cancelling() == 0);
    CHECK(await(other) == 3);
  });
}

TEST_CASE_METHOD(LoopTest, "who waits for a task that is cancelled by somebody else gets FutureCancelledError") {
  run([&] {
    auto child = create_task([] { sleep(1h); });
    auto parent = create_task([child] { await(child); });
    let_others_run(2);
    child.cancel("over there");
    CHECK_THROWS_WITH(await(parent), Catch::Contains("over there"));
    CHECK_FALSE(parent.cancelled());
    CHECK(parent.cancelling() == 0);
  });
}

TEST_CASE_METHOD(LoopTest, "a task and the future that it waits for may be cancelled together, in either order") {
  run([&] {
    Future<> future;
    auto task = waiter_of(future);
    bool task_first = false;
    SECTION("the task first") {
      task_first = true;
      task.cancel();
      CHECK_FALSE(future.cancel());
    }
    SECTION("the future first") {
      future.cancel();
      task.cancel();
    }
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(task.cancelled() == task_first);  // else it failed with what the future said, before it was cancelled
  });
}

TEST_CASE_METHOD(LoopTest, "ten thousand tasks that wait for each other are cancelled at once, without recursion") {
#if defined(TULP_TSAN)
  constexpr std::size_t depth = 3'000;  // ThreadSanitizer counts a fiber as a thread, of which it allows 8128
#else
  constexpr std::size_t depth = 10'000;
#endif
  run([&] {
    std::vector<Task<>> chain;
    chain.reserve(depth);
    std::size_t unwound = 0;
    chain.push_back(create_task([&] {
      const AtEnd count{[&] { ++unwound; }};
      sleep(1h);
    }));
    while (chain.size() < depth) {
      chain.push_back(create_task([&, last = chain.back()] {
        const AtEnd count{[&] { ++unwound; }};
        await(last);
      }));
    }
    let_others_run(2);
    chain.back().cancel();
    check_ends_cancelled(chain.back());
    CHECK(unwound == depth);
    CHECK(std::all_of(chain.begin(), chain.end(), [](const Task<>& task) { return task.cancelled(); }));
  });
}

TEST_CASE_METHOD(LoopTest, "who was cancelled before he waits for a task cancels that, and stays until it has ended") {
  run([&] {
    Future<> event;
    std::function<void()> be_cancelled;
    SECTION("by himself") {
      be_cancelled = [] { current_task().cancel("reason"); };
    }
    SECTION("behind a result") {
      be_cancelled = [&] {
        loop().call_soon([&, me = current_task()]() mutable {
          event.set_result();
          me.cancel("reason");
        });
        await(event);
      };
    }
    SECTION("within a shield") {
      be_cancelled = [&] {
        const CancelShield shield;
        loop().call_soon([me = current_task()]() mutable { me.cancel("reason"); });
        let_others_run();
      };
    }
    Trace trace;
    auto parent = create_task([&] {
      std::string local = "alive";
      auto child = create_task([&] {
        try {
          sleep(1h);
        } catch (const CancelledError& error) {
          let_others_run(2);
          trace.push_back("child: " + error.message() + ", " + local);
          throw;
        }
      });
      let_others_run();
      be_cancelled();
      try {
        await(child);
      } catch (const CancelledError& error) {
        trace.push_back("parent: " + error.message());
        throw;
      }
    });
    check_ends_cancelled(parent);
    CHECK(trace == Trace{"child: reason, alive", "parent: reason"});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "who was cancelled before he parks hears of it in the next iteration, and what he waits for") {
  run([&] {
    Future<> future;
    std::function<void()> park;
    bool is_future = false;
    SECTION("its turn") {
      park = [] { sleep(0s); };
    }
    SECTION("a timer") {
      park = [] { sleep(1h); };
    }
    SECTION("a future") {
      is_future = true;
      park = [=] { await(future); };
    }
    Trace trace;
    check_ends_cancelled(create_task([&] {
      current_task().cancel();
      loop().call_soon([&] { trace.push_back("called soon"); });
      try {
        park();
      } catch (const CancelledError&) {
        trace.push_back("cancelled");
        throw;
      }
    }));
    CHECK(trace == Trace{"called soon", "cancelled"});
    CHECK(future.cancelled() == is_future);
  });
}

// Shields and unwinding.

TEST_CASE_METHOD(LoopTest, "a CancelShield defers the request until the last shield is gone, to the park after that") {
  run([&] {
    Trace trace;
    auto task = create_task([&] {
      {
        const CancelShield outer;
        {
          const CancelShield inner;
          let_others_run(2);
          trace.push_back("inner");
        }
        let_others_run(2);
        trace.push_back("outer");
      }
      trace.push_back("unshielded");
      let_others_run();
      trace.push_back("not reached");
    });
    let_others_run();
    task.cancel();
    check_ends_cancelled(task);
    CHECK(trace == Trace{"inner", "outer", "unshielded"});
  });
}

TEST_CASE_METHOD(LoopTest, "a cancellation does not reach what a shielded task waits for") {
  run([&] {
    Future<int> future;
    auto task = create_task([=] {
      const CancelShield shield;
      return await(future);
    });
    let_others_run();
    task.cancel();
    let_others_run(2);
    CHECK_FALSE(future.done());
    CHECK_FALSE(task.done());
    future.set_result(1);
    CHECK_THROWS_AS(await(task), FutureCancelledError);  // the request was never seen, so it ends the task
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a cancellation is deferred while an exception unwinds the stack, and delivered behind that") {
  run([&] {
    Trace trace;
    auto task = create_task([&] {
      try {
        const AtEnd cleanup{[&] {
          let_others_run(3);
          trace.push_back("cleaned up");
        }};
        throw Boom();
      } catch (const Boom&) {
        trace.push_back("caught");
      }
      let_others_run();
      trace.push_back("not reached");
    });
    let_others_run();  // it is parked in the destructor
    task.cancel();
    check_ends_cancelled(task);
    CHECK(trace == Trace{"cleaned up", "caught"});
  });
}

TEST_CASE_METHOD(LoopTest, "a second cancellation does not disturb the cleanup that the first one started") {
  run([&] {
    Trace trace;
    auto task = create_task([&] {
      const AtEnd cleanup{[&] {
        let_others_run(4);
        trace.push_back("cleaned up");
      }};
      sleep(1h);
    });
    let_others_run();
    task.cancel();
    let_others_run(2);
    task.cancel();
    check_ends_cancelled(task);
    CHECK(trace == Trace{"cleaned up"});
  });
}

TEST_CASE_METHOD(LoopTest, "a task parked inside a catch block can be cancelled, and keeps its exception until then") {
  run([&] {
    std::string seen;
    auto task = create_task([&] {
      try {
        throw Boom();
      } catch (const Boom&) {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
        }
        seen = describe(std::current_exception());
      }
    });
    let_others_run();
    task.cancel();
    await(task);
    CHECK(seen == "boom");
  });
}

TEST_CASE_METHOD(LoopTest, "a destructor of a captured object may park while its task is cancelled") {
  run([&] {
    Trace trace;
    auto shared = std::make_shared<AtEnd>(AtEnd{[&] {
      let_others_run(2);
      trace.push_back("captured object gone");
    }});
    trace.clear();
    auto task = create_task([held = std::move(shared)] { sleep(1h); });
    let_others_run();
    task.cancel();
    check_ends_cancelled(task);
    CHECK(trace == Trace{"captured object gone"});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "CancelledError says where the cancellation was asked for, and so does FutureCancelledError") {
  run([] {
    std::string place;
    auto task = create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError& error) {
        CHECK(error.asked_at() != nullptr);
        place = error.place();
        throw;
      }
    });
    let_others_run();
    task.cancel();
    try {
      await(task);
      FAIL("nothing was thrown");
    } catch (const FutureCancelledError& error) {
      CHECK(error.place() == place);
    }
    CHECK_FALSE(place.empty());
    Future<> future;
    future.cancel();
    CHECK_THROWS_AS(future.result(), FutureCancelledError);
    CHECK(CancelledError().place().empty());
  });
}

TEST_CASE_METHOD(LoopTest, "inside a no_park_scope what may park throws InvalidStateError, even if it had not to") {
  run([] {
    Future<> done;
    done.set_result();
    {
      const no_park_scope outer;
      {
        const no_park_scope inner;
        CHECK_THROWS_AS(sleep(0s), InvalidStateError);
      }
      CHECK_THROWS_WITH(await(done), Catch::Contains("no_park_scope"));
      CHECK_THROWS_AS(sleep(1h), InvalidStateError);
    }
    await(done);
    sleep(0s);
  });
  const no_park_scope outside;
}

TEST_CASE_METHOD(LoopTest, "in debug mode a swallowed cancellation is reported when it is swallowed") {
  loop().set_debug(true);
  run([&] {
    auto task = create_task(TaskOptions{.name = "greedy"}, [] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
      }
      sleep(0s);
    });
    let_others_run();
    task.cancel("why");
    let_others_run();
    CHECK(report_count() == 1);
    await(task);
  });
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find("swallowed") != std::string::npos);
  CHECK(reports[0].object == "task 'greedy'");
  CHECK(describe(reports[0].exception) == "cancelled: why");
}

TEST_CASE_METHOD(LoopTest,
                 "a cancellation that goes on, is taken back, or becomes an error, is not reported as swallowed") {
  loop().set_debug(true);
  run([&] {
    const auto cancel = [](auto task) {
      let_others_run();
      task.cancel();
      wait(std::vector{task});
    };
    cancel(create_task([] { sleep(1h); }));
    cancel(create_task([] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        const CancelShield shield;
        sleep(0s);
        throw;
      }
    }));
    cancel(create_task([] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        current_task().state()->task()->uncancel();
      }
    }));
    auto failing = create_task([] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        throw Boom();
      }
    });
    cancel(failing);
    CHECK_THROWS_AS(failing.result(), Boom);
    CHECK_THROWS_AS(with_timeout(1ms, [] { sleep(1h); }), TimeoutError);
    with_task_group([](TaskGroup& group) {
      group.create_task([] { sleep(1h); });
      let_others_run();
      group.cancel();
      sleep(1h);
    });
  });
}
