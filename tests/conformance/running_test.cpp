// Running and closing a loop, and the exception handler: semantics rows 44 to 49.
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <memory>
#include <stdexcept>
#include <thread>

#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "stop() lets the current iteration finish; what is queued later survives to the next run") {
  Trace trace;
  loop().call_soon([&] {
    loop().stop();
    trace.push_back("stopper");
    loop().call_soon([&] { trace.push_back("next run"); });
  });
  loop().call_soon([&] { trace.push_back("same iteration"); });
  loop().run_forever();
  CHECK(trace == Trace{"stopper", "same iteration"});
  run_once();
  CHECK(trace.back() == "next run");
}

TEST_CASE_METHOD(LoopTest, "stop() before the run means exactly one iteration, and two stops are one") {
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    loop().call_soon(again);
  };
  loop().call_soon(again);
  loop().stop();
  loop().stop();
  loop().run_forever();
  CHECK(runs == 1);
  loop().call_later(2ms, [this] { loop().stop(); });  // the request was used up: this run needs its own
  let_pass(2ms);
  loop().run_forever();
  CHECK(runs >= 2);
  CHECK(run([] {
          let_others_run(5);
          return 1;
        }) == 1);
}

TEST_CASE_METHOD(LoopTest, "a loop knows whether it is running and closed") {
  CHECK_FALSE(loop().is_running());
  CHECK_FALSE(loop().is_closed());
  run([&] { CHECK(loop().is_running()); });
  CHECK_FALSE(loop().is_running());
  loop().close();
  CHECK(loop().is_closed());
}

TEST_CASE_METHOD(LoopTest,
                 "run_until_complete returns the result, or throws the exception, of a future or a callable") {
  Future<int> future;
  loop().call_soon([&] { future.set_result(3); });
  CHECK(loop().run_until_complete(future) == 3);
  CHECK(loop().run_until_complete(future) == 3);  // though done already
  CHECK(loop().run_until_complete([] { return std::string("callable"); }) == "callable");
  CHECK(*loop().run_until_complete([] { return std::make_unique<int>(4); }) == 4);
  CHECK_THROWS_AS(loop().run_until_complete([] { throw Boom(); }), Boom);
  CHECK_THROWS_AS(loop().run_until_complete([] { current_task().cancel(); }), FutureCancelledError);
}

TEST_CASE_METHOD(LoopTest,
                 "run_until_complete that is stopped early throws InvalidStateError, and the future goes on") {
  Future<int> future;
  loop().call_soon([this] { loop().stop(); });
  CHECK_THROWS_AS(loop().run_until_complete(future), InvalidStateError);
  CHECK_FALSE(future.done());
  loop().call_soon([&] { future.set_result(1); });
  CHECK(loop().run_until_complete(future) == 1);
  int runs = 0;
  loop().call_soon([&] { ++runs, loop().call_soon([&] { ++runs; }); });
  run_once();
  run_once();
  CHECK(runs == 2);  // no stopper of the first call was left behind
}

TEST_CASE_METHOD(LoopTest, "run_until_complete refuses a future of another loop") {
  const auto other = make_loop(kind());
  Future<int> foreign(*other);
  CHECK_THROWS_AS(loop().run_until_complete(foreign), InvalidStateError);
}

TEST_CASE_METHOD(LoopTest, "there are no recursive loops: neither this one nor another may run inside a run") {
  const auto other = make_loop(kind());
  const auto check = [&] {
    CHECK_THROWS_AS(loop().run_forever(), InvalidStateError);
    CHECK_THROWS_AS(other->run_forever(), InvalidStateError);
    CHECK_THROWS_AS(loop().run_until_complete(Future<>(loop())), InvalidStateError);
    CHECK_THROWS_AS(other->run_until_complete(Future<>(*other)), InvalidStateError);
  };
  run(check);
  loop().call_soon(check);
  run_once();
  CHECK_FALSE(other->is_running());
}

TEST_CASE_METHOD(LoopTest, "close() while running throws InvalidStateError and harms nothing") {
  run([&] {
    CHECK_THROWS_AS(loop().close(), InvalidStateError);
    CHECK_FALSE(loop().is_closed());
    let_others_run();
  });
}

TEST_CASE_METHOD(LoopTest, "close() drops what is queued, frees what it holds, and may be called twice") {
  auto held = std::make_shared<int>();
  const auto fail = [held] { FAIL("a closed loop ran a callback"); };
  loop().call_later(1h, fail);
  const TimerHandle kept = loop().call_later(2h, fail);
  int pipe_ends[2];
  REQUIRE(::pipe2(pipe_ends, O_CLOEXEC) == 0);
  loop().add_reader(pipe_ends[0], fail);
  Future<int> pending;
  pending.add_done_callback([](const Future<int>&) { FAIL("a closed loop ran a done callback"); });
  loop().call_soon(fail);
  loop().call_soon_threadsafe(fail);
  CHECK(held.use_count() > 2);
  loop().close();
  loop().close();
  CHECK(held.use_count() == 2);  // and `fail` itself
  CHECK(kept.cancelled());
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
  pending.set_result(1);
}

TEST_CASE_METHOD(LoopTest, "a closed loop refuses everything with InvalidStateError") {
  Future<int> done;
  done.set_result(1);
  loop().close();
  const auto nothing = [] {};
  CHECK_THROWS_AS(loop().call_soon(nothing), InvalidStateError);
  CHECK_THROWS_AS(loop().call_soon_threadsafe(nothing), InvalidStateError);
  CHECK_THROWS_AS(loop().call_later(1s, nothing), InvalidStateError);
  CHECK_THROWS_AS(loop().call_at(loop().time(), nothing), InvalidStateError);
  CHECK_THROWS_AS(loop().add_reader(0, nothing), InvalidStateError);
  CHECK_THROWS_AS(loop().add_writer(1, nothing), InvalidStateError);
  CHECK_THROWS_AS(loop().run_forever(), InvalidStateError);
  CHECK_THROWS_AS(loop().run_until_complete(nothing), InvalidStateError);
  CHECK_THROWS_AS(done.add_done_callback([](const Future<int>&) {}), InvalidStateError);
  CHECK_FALSE(loop().remove_reader(0));
  CHECK_FALSE(loop().remove_writer(0));
}

TEST_CASE_METHOD(LoopTest, "a refused callback is destroyed") {
  auto held = std::make_shared<int>();
  loop().close();
  CHECK_THROWS_AS(loop().call_soon_threadsafe([held] {}), InvalidStateError);
  CHECK_THROWS_AS(loop().call_later(1s, [held] {}), InvalidStateError);
  CHECK(held.use_count() == 1);
}

TEST_CASE_METHOD(LoopTest, "close() cancels the tasks that are parked and runs them to their end") {
  Trace trace;
  std::vector<Task<>> tasks;
  for (int i = 0; i < 1000; ++i) {
    tasks.push_back(create_task([&] {
      struct Cleanup {
        Trace& trace;
        ~Cleanup() {
          const CancelShield shield;
          let_others_run(2);
          trace.push_back("cleaned up");
        }
      } cleanup{trace};
      sleep(1h);
    }));
  }
  tasks.push_back(create_task([&] { trace.push_back("begun though never run"); }));
  tasks[0].cancel();
  run_once();
  loop().close();
  CHECK(trace.size() == 1000);
  for (const auto& task : tasks) CHECK(task.done());
}

// The exception handler.

TEST_CASE_METHOD(LoopTest, "an exception handler that throws is itself reported, and the loop survives") {
  const CapturedStderr captured;
  int handled = 0;
  loop().set_exception_handler([&](EventLoop&, const ExceptionContext&) {
    ++handled;
    throw std::logic_error("the handler's own");
  });
  loop().call_soon([] { throw Boom(); });
  int runs = 0;
  loop().call_soon([&] { ++runs; });
  run_once();
  CHECK(handled == 1);
  CHECK(runs == 1);
  CHECK_THAT(captured.text(), Catch::Contains("the handler's own") && Catch::Contains("boom"));
}

TEST_CASE_METHOD(LoopTest,
                 "call_exception_handler hands its context to the handler, which may be replaced by the default") {
  loop().call_exception_handler({.message = "something happened", .object = "a thing"});
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message == "something happened");
  CHECK(reports[0].object == "a thing");
  const CapturedStderr captured;
  loop().set_exception_handler(nullptr);
  loop().call_exception_handler({.message = "something else", .exception = std::make_exception_ptr(Boom())});
  CHECK(captured.text() == "tulp: something else: boom\n");
}

TEST_CASE_METHOD(LoopTest, "a handler may replace itself while it runs") {
  loop().set_exception_handler([this, big = std::string(1000, 'x')](EventLoop&, const ExceptionContext&) {
    loop().set_exception_handler([this](EventLoop&, const ExceptionContext&) { loop().stop(); });
    CHECK(big.size() == 1000);
  });
  loop().call_soon([] { throw Boom(); });
  loop().call_soon([] { throw Boom(); });
  loop().run_forever();
}

// Debug mode.

TEST_CASE_METHOD(LoopTest, "in debug mode a call from a foreign thread is refused, and call_soon_threadsafe is not") {
  loop().set_debug(true);
  CHECK(loop().debug());
  bool arrived = false;
  run([&] {
    std::thread([&] {
      CHECK_THROWS_AS(loop().call_soon([] {}), InvalidStateError);
      CHECK_THROWS_AS(loop().call_later(1s, [] {}), InvalidStateError);
      loop().call_soon_threadsafe([&] { arrived = true; });
    }).join();
    let_others_run(2);
    while (!arrived) sleep(100us);
  });
  CHECK(arrived);
}

TEST_CASE_METHOD(LoopTest,
                 "in debug mode a callback that holds up the loop is reported, with the place where it was scheduled") {
  loop().set_debug(true);
  loop().set_slow_callback_duration(10ms);
  const auto hold_up = [] { std::this_thread::sleep_for(12ms); };
  const auto before = loop().time();
  loop().call_soon(hold_up);
  loop().call_soon([] {});
  run_once();
  if (loop().time() == before) return;  // the manual clock stood still
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(reports[0].message, Catch::StartsWith("the event loop was held up for "));
  CHECK(reports[0].object == "callback");
  CHECK(reports[0].exception == nullptr);
  CHECK_THAT(describe_code_address(reports[0].created_at), Catch::Contains("running_test.cpp"));
}

TEST_CASE("the time that a callback takes is taken from the loop's clock, and only in debug mode") {
  LoopTest test(LoopKind::foreign);
  auto& loop = static_cast<PollEventLoop&>(test.loop());
  CHECK(loop.slow_callback_duration() == Duration(100ms));
  loop.call_soon([&] { loop.advance(1h); });
  test.run_once();
  CHECK(test.report_count() == 0);
  loop.set_debug(true);
  loop.call_soon([&] { loop.advance(100ms); });
  loop.call_soon([&] { loop.advance(99ms); });
  test.run_once();
  const auto reports = test.take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message == "the event loop was held up for 0.100 s");
}

TEST_CASE("whatever holds up the loop is named: a task, a done callback, a reader") {
  LoopTest test(LoopKind::foreign);
  auto& loop = static_cast<PollEventLoop&>(test.loop());
  loop.set_debug(true);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  loop.add_writer(ends[1], [&] {
    loop.advance(1s);
    loop.remove_writer(ends[1]);
  });
  Future<> future;
  future.add_done_callback([&](const Future<>&) { loop.advance(1s); });
  test.run([&] {
    await(create_task({.name = "slow"}, [&] { loop.advance(1s); }));
    future.set_result();
    sleep(0s);
    await(future);
  });
  std::vector<std::string> names;
  for (const auto& report : test.take_reports()) names.push_back(report.object);
  CHECK(names == std::vector<std::string>{"writer of descriptor " + std::to_string(ends[1]), "task 'slow'",
                                          "done callback of future"});
  ::close(ends[0]);
  ::close(ends[1]);
}
