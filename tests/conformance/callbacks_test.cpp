// Immediate callbacks, handles and timers: semantics rows 33 to 37.
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "call_soon runs callbacks in the order in which they were given, once each") {
  Trace trace;
  for (const char* name : {"a", "b", "c"}) loop().call_soon([&trace, name] { trace.push_back(name); });
  CHECK(trace.empty());
  run_once();
  CHECK(trace == Trace{"a", "b", "c"});
  run_once();
  CHECK(trace.size() == 3);
}

TEST_CASE_METHOD(LoopTest, "call_soon never runs anything inline, and a callback ends before the next one starts") {
  Trace trace;
  loop().call_soon([&] {
    trace.push_back("first begins");
    loop().call_soon([&] { trace.push_back("nested"); });
    trace.push_back("first ends");
  });
  loop().call_soon([&] { trace.push_back("second"); });
  run_once();
  CHECK(trace == Trace{"first begins", "first ends", "second"});
  run_once();
  CHECK(trace.back() == "nested");
}

TEST_CASE_METHOD(LoopTest, "an iteration runs exactly the callbacks that are there when it begins") {
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    loop().call_soon(again);
  };
  loop().call_soon(again);
  for (int iteration = 1; iteration <= 3; ++iteration) {
    run_once();
    CHECK(runs == iteration);
  }
}

TEST_CASE_METHOD(LoopTest, "a chain of call_soon starves neither timers nor descriptors") {
  int pipe_ends[2];
  REQUIRE(::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) == 0);
  REQUIRE(::write(pipe_ends[1], "x", 1) == 1);
  bool timer_ran = false, reader_ran = false;
  long links = 0;
  std::function<void()> chain = [&] {
    ++links;
    if (!(timer_ran && reader_ran) && links < 50'000'000) return static_cast<void>(loop().call_soon(chain));
    loop().stop();
  };
  loop().call_soon(chain);
  loop().call_later(1us, [&] { timer_ran = true; });
  loop().add_reader(pipe_ends[0], [&] { reader_ran = true; });
  let_pass(1us);
  loop().run_forever();
  CHECK(timer_ran);
  CHECK(reader_ran);
  loop().remove_reader(pipe_ends[0]);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
}

TEST_CASE_METHOD(LoopTest, "arguments are stored decayed and moved into the call") {
  auto owned = std::make_unique<int>(7);
  std::unique_ptr<int> received;
  std::string text = "before";
  std::string seen;
  loop().call_soon([&](std::unique_ptr<int> value) { received = std::move(value); }, std::move(owned));
  loop().call_soon([&](const std::string& copy) { seen = copy; }, text);
  text = "after";
  run_once();
  CHECK(*received == 7);
  CHECK(seen == "before");
}

TEST_CASE_METHOD(LoopTest, "what a callback holds is destroyed as soon as it has run") {
  auto held = std::make_shared<int>(1);
  const Handle handle = loop().call_soon([held] {});
  CHECK(held.use_count() == 2);
  run_once();
  CHECK(held.use_count() == 1);
  CHECK_FALSE(handle.cancelled());
}

TEST_CASE_METHOD(LoopTest, "cancel() of a handle frees callback and arguments at once, though it stands in the queue") {
  auto held = std::make_shared<int>(1);
  bool ran = false;
  Handle handle = loop().call_soon([&ran, held](const std::shared_ptr<int>&) { ran = true; }, held);
  CHECK(held.use_count() == 3);
  CHECK_FALSE(handle.cancelled());
  handle.cancel();
  CHECK(held.use_count() == 1);
  CHECK(handle.cancelled());
  handle.cancel();  // idempotent
  run_once();
  CHECK_FALSE(ran);
}

TEST_CASE_METHOD(LoopTest, "a callback that an earlier one of the same batch cancels does not run") {
  Trace trace;
  Handle second;
  loop().call_soon([&] {
    trace.push_back("first");
    second.cancel();
  });
  second = loop().call_soon([&] { trace.push_back("second"); });
  loop().call_soon([&] { trace.push_back("third"); });
  run_once();
  CHECK(trace == Trace{"first", "third"});
}

TEST_CASE_METHOD(LoopTest, "dropping a handle does not cancel, and an empty handle can be cancelled") {
  int runs = 0;
  loop().call_soon([&] { ++runs; });
  loop().call_later(0s, [&] { ++runs; });
  Handle().cancel();
  CHECK_FALSE(Handle().cancelled());
  run_once();
  CHECK(runs == 2);
}

TEST_CASE_METHOD(LoopTest, "a callback that cancels its own handle while it runs is not disturbed") {
  auto held = std::make_shared<int>(5);
  Handle self;
  int seen = 0;
  self = loop().call_soon([&, held] {
    self.cancel();
    seen = *held;
  });
  run_once();
  CHECK(seen == 5);
}

TEST_CASE_METHOD(LoopTest, "cancelled() says that cancel() was called, though it came too late") {
  Handle self, late;
  bool cancelled_inside = false;
  self = loop().call_soon([&] {
    self.cancel();
    cancelled_inside = self.cancelled();
  });
  late = loop().call_soon([] {});
  TimerHandle timer = loop().call_later(0s, [] {});
  run_once();
  CHECK(cancelled_inside);
  CHECK(self.cancelled());
  CHECK_FALSE(late.cancelled());
  CHECK_FALSE(timer.cancelled());
  late.cancel();
  timer.cancel();
  CHECK(late.cancelled());
  CHECK(timer.cancelled());
}

// Timers.

TEST_CASE_METHOD(LoopTest, "call_later(d) is call_at(time() + d), and its handle says when()") {
  const TimePoint before = loop().time();
  TimerHandle later = loop().call_later(1h, [] {});
  const TimePoint behind = loop().time();
  TimerHandle at = loop().call_at(before + 2h, [] {});
  CHECK(later.when() >= before + 1h);
  CHECK(later.when() <= behind + 1h);
  CHECK(at.when() == before + 2h);
  later.cancel();
  at.cancel();
}

TEST_CASE_METHOD(InVirtualTime<>, "a timer never fires early, and fires in the order of its time") {
  Trace trace;
  const TimePoint start = loop().time();
  const auto record = [&](const char* name, Duration delay) {
    loop().call_later(delay, [&trace, &loop = loop(), name, due = start + std::chrono::nanoseconds(delay)] {
      CHECK(loop.time() >= due);
      trace.push_back(name);
    });
  };
  record("third", 3100us);
  record("first", 700us);
  record("second", 1400us);
  loop().call_later(4ms, [this] { loop().stop(); });
  loop().run_forever();
  CHECK(trace == Trace{"first", "second", "third"});
}

TEST_CASE_METHOD(LoopTest, "timers that are due at one time run in the order in which they were scheduled") {
  std::vector<int> order, expected;
  const TimePoint when = loop().time() + 1ms;
  for (int i = 0; i < 100; ++i) {
    loop().call_at(when, [&order, i] { order.push_back(i); });
    expected.push_back(i);
  }
  loop().call_at(when, [this] { loop().stop(); });
  loop().run_forever();
  CHECK(order == expected);
}

TEST_CASE_METHOD(
    LoopTest, "a delay that is zero, negative or the most negative, and a time that is past, mean the next iteration") {
  int runs = 0;
  const auto count = [&] { ++runs; };
  SECTION("zero") { loop().call_later(0s, count); }
  SECTION("negative") { loop().call_later(-5s, count); }
  SECTION("the most negative Duration") { loop().call_later(std::chrono::hours::min(), count); }
  SECTION("past") { loop().call_at(loop().time() - 1h, count); }
  SECTION("the first TimePoint there is") { loop().call_at(TimePoint::min(), count); }
  CHECK(runs == 0);
  loop().call_soon([] {});
  run_once();
  CHECK(runs == 1);
}

TEST_CASE_METHOD(LoopTest,
                 "a thousand timers that are due run in one iteration, in order, before anything that they add") {
  const TimePoint past = loop().time() - 1s;
  std::vector<int> ran;
  int added = 0;
  for (int i = 0; i < 1000; ++i) {
    loop().call_at(past + i * 1us, [&, i] {
      if (added == 0) ran.push_back(i);
      loop().call_soon([&] { ++added; });
    });
  }
  run_once();
  CHECK(ran.size() == 1000);
  CHECK(std::is_sorted(ran.begin(), ran.end()));
  CHECK(added == 0);
  run_once();
  CHECK(added == 1000);
}

TEST_CASE_METHOD(
    LoopTest, "of a thousand timers that are due, one can cancel the last, and what it sets is the next iteration's") {
  const TimePoint past = loop().time() - 1s;
  std::vector<TimerHandle> timers;
  int runs = 0;
  int runs_of_new = 0;
  loop().call_at(past, [&] {
    timers.back().cancel();
    loop().call_at(past - 1s, [&] { ++runs_of_new; });
  });
  for (int i = 0; i < 1000; ++i) timers.push_back(loop().call_at(past, [&] { ++runs; }));
  while (runs < 999) {
    CHECK(runs_of_new == 0);
    run_once();
  }
  run_once();
  CHECK(runs == 999);
  CHECK(runs_of_new == 1);
}

TEST_CASE_METHOD(LoopTest, "a timer of the distant past does not let the loop sleep") {
  bool ran = false;
  SECTION("the most negative Duration") {
    loop().call_later(std::chrono::nanoseconds::min(), [&] { ran = true, loop().stop(); });
  }
  SECTION("the first TimePoint there is") {
    loop().call_at(TimePoint::min(), [&] { ran = true, loop().stop(); });
  }
  TimerHandle safety = loop().call_later(10s, [this] { loop().stop(); });
  loop().run_forever();
  CHECK(ran);
  safety.cancel();
}

TEST_CASE_METHOD(LoopTest, "a delay of Duration::max(), or too long to count, never comes") {
  TimerHandle never = loop().call_later(Duration::max(), [] { FAIL("it came"); });
  TimerHandle centuries = loop().call_later(std::chrono::hours::max(), [] { FAIL("it came"); });
  TimerHandle last = loop().call_at(TimePoint::max(), [] { FAIL("it came"); });
  CHECK(never.when() == TimePoint::max());
  CHECK(centuries.when() == TimePoint::max());
  loop().call_later(1ms, [this] { loop().stop(); });
  loop().run_forever();
  never.cancel();
  centuries.cancel();
  last.cancel();
}

TEST_CASE_METHOD(LoopTest, "a delay that is not a number is refused") {
  CHECK_THROWS_AS(loop().call_later(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()), [] {}),
                  std::invalid_argument);
}

TEST_CASE_METHOD(LoopTest,
                 "cancel() of a timer frees its callback at once, whether it waits, is due or stands in the queue") {
  auto held = std::make_shared<int>(1);
  bool ran = false;
  TimerHandle waiting = loop().call_later(1h, [held, &ran] { ran = true; });
  TimerHandle queued;
  loop().call_later(0s, [&] {
    queued.cancel();  // of the same batch
    CHECK(queued.cancelled());
    CHECK(held.use_count() == 2);
  });
  queued = loop().call_later(0s, [held, &ran] { ran = true; });
  CHECK(held.use_count() == 3);
  run_once();
  waiting.cancel();
  CHECK(waiting.cancelled());
  CHECK(held.use_count() == 1);
  waiting.cancel();
  run_once();
  CHECK_FALSE(ran);
}

TEST_CASE_METHOD(LoopTest, "a timer that is set after a long callback counts from then, not from before") {
  if (kind() == LoopKind::foreign || is_test_loop()) return;  // whose clock does not move while a callback runs
  TimePoint set_at, came_at;
  loop().call_soon([&] {
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() < begin + 3ms) {
    }
    set_at = std::chrono::steady_clock::now();
    loop().call_later(1ms, [&] {
      came_at = std::chrono::steady_clock::now();
      loop().stop();
    });
  });
  loop().run_forever();
  CHECK(came_at >= set_at + 1ms);
}

TEST_CASE_METHOD(LoopTest, "a repeated callback is two lines of one's own, on a fixed raster or from end to end") {
  int ticks = 0;
  std::function<void(TimePoint)> tick = [&](TimePoint due) {
    if (++ticks == 3) return loop().stop();
    loop().call_at(due + 1ms, tick, due + 1ms);
  };
  const TimePoint start = loop().time();
  loop().call_at(start, tick, start);
  loop().run_forever();
  CHECK(ticks == 3);
  CHECK(loop().time() >= start + 2ms);
}

// Errors.

TEST_CASE_METHOD(LoopTest, "an exception in a callback goes to the exception handler, and the loop goes on") {
  Trace trace;
  loop().call_soon([] { throw std::runtime_error("soon"); });
  loop().call_later(0s, [] { throw 42; });
  loop().call_soon([&] { trace.push_back("next"); });
  run_once();
  CHECK(trace == Trace{"next"});
  const auto reports = take_reports();
  REQUIRE(reports.size() == 2);
  for (const auto& report : reports) {
    CHECK_FALSE(report.message.empty());
    CHECK(report.exception != nullptr);
    CHECK(report.created_at != nullptr);
  }
  CHECK((describe(reports[0].exception) == "soon" || describe(reports[1].exception) == "soon"));
}

TEST_CASE_METHOD(LoopTest, "a park in a callback throws InvalidStateError, even where it would not have to park") {
  Future<int> done(loop());
  done.set_result(1);
  const auto refused = [&](auto park) {
    loop().call_soon([park] { CHECK_THROWS_AS(park(), InvalidStateError); });
    run_once();
    CHECK_THROWS_AS(park(), InvalidStateError);  // with no loop running at all
  };
  refused([&] { await(done); });
  refused([] { sleep(0s); });
  refused([] { sleep(1h); });
  refused([] { CancelShield shield; });
  done.add_done_callback([](const Future<int>& f) { CHECK_THROWS_AS(await(f), InvalidStateError); });
  run_once();
}
