// Futures: semantics rows 13 to 21, 28, 30 and 31.
#include <tulp/future.hpp>
#include <tulp/task.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/allocations.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "a pending future has neither result nor exception: both throw InvalidStateError") {
  Future<int> future;
  CHECK_FALSE(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK_THROWS_AS(future.result(), InvalidStateError);
  CHECK_THROWS_AS(future.exception(), InvalidStateError);
  CHECK(&future.get_loop() == &loop());
}

TEST_CASE_METHOD(LoopTest, "result() gives the value, as often as it is asked for") {
  Future<std::string> future;
  future.set_result("value");
  CHECK(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK(future.result() == "value");
  CHECK(future.result() == "value");
  CHECK(future.exception() == nullptr);
}

TEST_CASE_METHOD(LoopTest,
                 "result() throws the exception that was set, as often as it is asked for; exception() gives it") {
  Future<> future;
  future.set_exception(Boom());
  CHECK(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK_THROWS_AS(future.result(), Boom);
  CHECK_THROWS_AS(future.result(), Boom);
  CHECK(describe(future.exception()) == "boom");
}

TEST_CASE_METHOD(LoopTest,
                 "a cancelled future throws FutureCancelledError from result() and exception(), with the reason") {
  Future<int> future;
  CHECK(future.cancel("no longer wanted"));
  CHECK(future.done());
  CHECK(future.cancelled());
  CHECK_THROWS_AS(future.result(), FutureCancelledError);
  CHECK_THROWS_WITH(future.exception(), Catch::Contains("no longer wanted"));
}

TEST_CASE_METHOD(
    LoopTest,
    "a future ends once: set_result and set_exception on a done one throw InvalidStateError, and the first end stays") {
  Future<int> with_value, failed, cancelled;
  with_value.set_result(1);
  failed.set_exception(Boom());
  cancelled.cancel();
  for (Future<int> future : {with_value, failed, cancelled}) {
    CHECK_THROWS_AS(future.set_result(2), InvalidStateError);
    CHECK_THROWS_AS(future.set_exception(std::logic_error("late")), InvalidStateError);
    CHECK_FALSE(future.cancel());
  }
  CHECK(with_value.result() == 1);
  CHECK_THROWS_AS(failed.result(), Boom);
  CHECK(cancelled.cancelled());
}

TEST_CASE_METHOD(LoopTest, "set_exception(null) is refused and leaves the future pending") {
  Future<int> future;
  CHECK_THROWS_AS(future.set_exception(std::exception_ptr()), std::invalid_argument);
  CHECK_FALSE(future.done());
}

TEST_CASE_METHOD(LoopTest, "a move-only result is taken by the first; a second attempt throws InvalidStateError") {
  Future<std::unique_ptr<int>> future;
  future.set_result(std::make_unique<int>(3));
  CHECK(*future.result() == 3);
  CHECK_THROWS_AS(future.result(), InvalidStateError);
  CHECK(future.done());
}

TEST_CASE_METHOD(LoopTest, "await copies a copyable result, and moves it when it holds the last reference") {
  struct Counted {
    explicit Counted(int* copies) : copies_(copies) {}
    Counted(const Counted& other) : copies_(other.copies_) { ++*copies_; }
    Counted(Counted&&) = default;
    int* copies_;
  };
  int copies = 0;
  run([&] {
    Future<Counted> future;
    future.set_result(Counted(&copies));
    await(future);
    CHECK(copies == 1);
    await(future);
    CHECK(copies == 2);
    await(std::move(future));
    CHECK(copies == 2);
  });
}

// Done callbacks.

TEST_CASE_METHOD(LoopTest, "a done callback gets the future, always through call_soon, even if it is done already") {
  Future<int> future;
  int seen = 0;
  SECTION("added before the end") {
    future.add_done_callback([&](const Future<int>& f) { seen = f.result(); });
    future.set_result(4);
  }
  SECTION("added behind the end") {
    future.set_result(4);
    future.add_done_callback([&](const Future<int>& f) { seen = f.result(); });
  }
  CHECK(seen == 0);
  run_once();
  CHECK(seen == 4);
  run_once();
  CHECK(seen == 4);
}

TEST_CASE_METHOD(LoopTest, "done callbacks run in the order in which they were added, in turn with other callbacks") {
  Trace trace;
  Future<> future;
  const auto record = [&](std::string name) { return [&trace, name](const Future<>&) { trace.push_back(name); }; };
  future.add_done_callback(record("a"));
  future.add_done_callback(record("b"));
  future.add_done_callback(record("a"));  // twice added, twice run
  loop().call_soon([&] { trace.push_back("before"); });
  future.set_result();
  loop().call_soon([&] { trace.push_back("behind"); });
  future.add_done_callback(record("late"));
  run_once();
  CHECK(trace == Trace{"before", "a", "b", "a", "behind", "late"});
}

TEST_CASE_METHOD(LoopTest, "a done callback that throws is reported, and the others still run") {
  Trace trace;
  Future<> future;
  future.add_done_callback([](const Future<>&) { throw Boom(); });
  future.add_done_callback([&](const Future<>&) { trace.push_back("second"); });
  future.set_result();
  run_once();
  CHECK(trace == Trace{"second"});
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(describe(reports[0].exception) == "boom");
}

TEST_CASE_METHOD(LoopTest, "remove_done_callback takes back one callback, once, and not when it is queued already") {
  Trace trace;
  Future<> future;
  const auto record = [&](std::string name) { return [&trace, name](const Future<>&) { trace.push_back(name); }; };
  const CallbackId first = future.add_done_callback(record("first"));
  const CallbackId second = future.add_done_callback(record("second"));
  CHECK(first != second);
  CHECK(future.remove_done_callback(first));
  CHECK_FALSE(future.remove_done_callback(first));
  future.set_result();
  CHECK_FALSE(future.remove_done_callback(second));
  run_once();
  CHECK(trace == Trace{"second"});
}

TEST_CASE_METHOD(LoopTest, "done callbacks may add and remove callbacks while they run") {
  Trace trace;
  Future<> future;
  future.add_done_callback([&](Future<> f) {
    trace.push_back("first");
    f.add_done_callback([&](const Future<>&) { trace.push_back("added"); });
  });
  future.add_done_callback([&](const Future<>&) { trace.push_back("second"); });
  future.set_result();
  run_once();
  CHECK(trace == Trace{"first", "second"});
  run_once();
  CHECK(trace == Trace{"first", "second", "added"});
}

TEST_CASE_METHOD(LoopTest,
                 "what a done callback holds is destroyed when it has run, is removed, or its future is dropped") {
  auto held = std::make_shared<int>();
  Future<> future;
  const auto holding = [held](const Future<>&) {};
  CHECK(held.use_count() == 2);
  const CallbackId id = future.add_done_callback(holding);
  CHECK(held.use_count() == 3);
  SECTION("removed") { future.remove_done_callback(id); }
  SECTION("dropped") { future = Future<>(); }
  SECTION("run") {
    future.set_result();
    run_once();
  }
  CHECK(held.use_count() == 2);
}

TEST_CASE_METHOD(LoopTest, "a future lives until its queued callbacks have run, though nobody else holds it") {
  int seen = 0;
  {
    Future<int> future;
    future.add_done_callback([&](const Future<int>& f) { seen = f.result(); });
    future.set_result(9);
  }
  run_once();
  CHECK(seen == 9);
}

TEST_CASE_METHOD(LoopTest, "cancel() of a plain future ends it at once and schedules its callbacks") {
  Future<int> future;
  bool was_cancelled = false;
  future.add_done_callback([&](const Future<int>& f) { was_cancelled = f.cancelled(); });
  CHECK(future.cancel());
  CHECK_FALSE(was_cancelled);
  run_once();
  CHECK(was_cancelled);
}

// Waiting.

TEST_CASE_METHOD(LoopTest, "await of a done future returns at once, without a switch") {
  run([&] {
    Trace trace;
    Future<int> future;
    future.set_result(1);
    loop().call_soon([&] { trace.push_back("callback"); });
    CHECK(await(future) == 1);
    CHECK(trace.empty());
    let_others_run();
    CHECK(trace.size() == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "await of a pending future parks until it is done, and resumes through the queue") {
  Trace trace;
  Future<int> future;
  run([&] {
    loop().call_soon([&] {
      future.set_result(5);
      loop().call_soon([&] { trace.push_back("behind set_result"); });
      trace.push_back("set");
    });
    CHECK(await(future) == 5);
    trace.push_back("resumed");
    let_others_run();
  });
  CHECK(trace == Trace{"set", "resumed", "behind set_result"});
}

TEST_CASE_METHOD(LoopTest, "any number of tasks may wait for one future: all get the result, first come first served") {
  Trace trace;
  run([&] {
    Future<std::string> future;
    std::vector<Task<>> tasks;
    for (const char* name : {"a", "b", "c"})
      tasks.push_back(create_task([&trace, future, name] { trace.push_back(name + await(future)); }));
    let_others_run();
    future.set_result("!");
    for (const auto& task : tasks) await(task);
  });
  CHECK(trace == Trace{"a!", "b!", "c!"});
}

TEST_CASE_METHOD(LoopTest, "await rethrows what the future holds, in each waiter") {
  run([&] {
    Future<int> future;
    int caught = 0;
    const auto wait = [&, future] {
      try {
        await(future);
      } catch (const Boom&) {
        ++caught;
      }
    };
    auto one = create_task(wait), other = create_task(wait);
    let_others_run();
    future.set_exception(Boom());
    await(one);
    await(other);
    CHECK(caught == 2);
    CHECK_THROWS_AS(await(future), Boom);
  });
}

TEST_CASE_METHOD(LoopTest, "a future that somebody else cancelled throws FutureCancelledError: I was not cancelled") {
  run([&] {
    Future<int> future;
    auto task = create_task([future] { return await(future); });
    let_others_run();
    future.cancel("over there");
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK_FALSE(task.cancelled());
    CHECK(task.cancelling() == 0);
    CHECK_THROWS_WITH(task.result(), Catch::Contains("over there"));
    CHECK_THROWS_AS(await(future), FutureCancelledError);
  });
}

TEST_CASE_METHOD(LoopTest, "await of a future of another loop throws InvalidStateError, though it be done") {
  const auto other = make_loop(kind());
  Future<int> foreign(*other);
  run([&] { CHECK_THROWS_AS(await(foreign), InvalidStateError); });
  foreign.set_result(1);
  run([&] { CHECK_THROWS_AS(await(foreign), InvalidStateError); });
}

TEST_CASE_METHOD(LoopTest, "waiting for a future allocates nothing") {
  run([&] {
    Future<int> future;
    const auto set = create_task([future]() mutable { future.set_result(1); });
    const AllocationCount allocations;
    const int value = await(future);
    const auto count = allocations.count();
    CHECK(value == 1);
    if (AllocationCount::is_counting() && kind() != LoopKind::foreign) CHECK(count == 0);  // whose wait() allocates
    await(set);
  });
}

TEST_CASE_METHOD(LoopTest, "a future made in a task belongs to the loop that runs it") {
  run([&] { CHECK(&Future<int>().get_loop() == &loop()); });
}

// Reports.

TEST_CASE_METHOD(LoopTest,
                 "an exception that nobody retrieved is reported once, when the last copy of the future dies") {
  {
    Future<int> future;
    Future<int> copy = future;
    future.set_exception(Boom());
    future = Future<int>();
    CHECK(report_count() == 0);
  }
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find("never retrieved") != std::string::npos);
  CHECK(describe(reports[0].exception) == "boom");
  CHECK(reports[0].created_at != nullptr);
}

TEST_CASE_METHOD(LoopTest, "an exception that somebody took note of is not reported") {
  Future<int> future;
  future.set_exception(Boom());
  SECTION("by result()") { CHECK_THROWS_AS(future.result(), Boom); }
  SECTION("by exception()") { CHECK(future.exception() != nullptr); }
  SECTION("by await") {
    run([&] { CHECK_THROWS_AS(await(future), Boom); });
  }
  SECTION("by cancel(), though it comes too late") { CHECK_FALSE(future.cancel()); }
  future = Future<int>();
  CHECK(report_count() == 0);
}

TEST_CASE_METHOD(LoopTest, "a done callback alone does not retrieve the exception") {
  {
    Future<int> future;
    future.add_done_callback([](const Future<int>&) {});
    future.set_exception(Boom());
  }
  run_once();
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(LoopTest, "an ignored success, a cancelled future and a pending one are dropped without a word") {
  Future<int>().set_result(1);
  Future<int>().cancel();
  Future<int>{};
  CHECK(report_count() == 0);
}

TEST_CASE_METHOD(LoopTest, "a failed future that is dropped on a foreign thread is reported to its loop") {
  std::optional<Future<int>> future(std::in_place);
  future->set_exception(Boom());
  SECTION("while the loop does not run") {
    std::thread([&] { future.reset(); }).join();
    CHECK(take_reports().size() == 1);
  }
  SECTION("while it runs: by its own thread") {
    std::thread::id reported_by;
    loop().set_exception_handler([&](EventLoop&, const ExceptionContext&) {
      reported_by = std::this_thread::get_id();
      loop().stop();
    });
    loop().call_soon([&] { std::thread([&] { future.reset(); }).join(); });
    loop().run_forever();
    CHECK(reported_by == std::this_thread::get_id());
  }
}

TEST_CASE_METHOD(LoopTest, "a failed future that outlives its loop is reported to stderr and harms nobody") {
  const CapturedStderr captured;
  std::optional<Future<int>> future;
  {
    const auto other = make_loop(kind());
    future.emplace(*other);
    future->set_exception(Boom());
  }
  future.reset();
  CHECK(report_count() == 0);
  CHECK_THAT(captured.text(), Catch::Contains("future exception was never retrieved: boom"));
}

TEST_CASE_METHOD(LoopTest, "copies of a future may be made and dropped on any thread while its loop uses it") {
  Future<std::string> future;
  future.set_result("shared");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([future] {
      for (int k = 0; k < 10'000; ++k) {
        Future<std::string> copy = future;
        Future<std::string> moved = std::move(copy);
      }
    });
  }
  run([&] {
    for (int k = 0; k < 1'000; ++k) CHECK(await(future) == "shared");
  });
  for (auto& thread : threads) thread.join();
}
