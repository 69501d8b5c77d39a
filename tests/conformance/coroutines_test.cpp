// C++20 coroutines: tasks without a fiber, with the rules of tasks.
#include <tulp/testing/run.hpp>
#include <tulp/tulp.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "support/coroutines.hpp"
#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

Future<int> plus_one(Future<int> number) { co_return co_await number + 1; }
Future<> fail() {
  throw Boom();
  co_return;
}
/// Notes how it ends.
Future<> note_end(Trace& trace, Future<> future) {
  trace.push_back("waits");
  try {
    co_await future;
    trace.push_back("done");
  } catch (const CancelledError&) {
    trace.push_back("CancelledError");
    throw;
  } catch (const FutureCancelledError&) {
    trace.push_back("FutureCancelledError");
    throw;
  }
}
struct OnDeath {
  explicit OnDeath(std::function<void()> action) : what(std::move(action)) {}
  OnDeath(OnDeath&& other) noexcept : what(std::exchange(other.what, nullptr)) {}
  OnDeath& operator=(OnDeath&&) = delete;
  ~OnDeath() {
    if (what) what();
  }
  std::function<void()> what;
};

}  // namespace

// Its steps.

TEST_CASE_METHOD(LoopTest, "a coroutine runs when it is called, as far as the first co_await that has to wait") {
  run([] {
    Trace trace;
    Future<> future;
    auto ended = note_end(trace, future);
    CHECK(trace == Trace{"waits"});
    CHECK_FALSE(ended.done());
    future.set_result();
    CHECK_FALSE(ended.done());
    await(ended);
    CHECK(trace == Trace{"waits", "done"});
    CHECK(give(3).result() == 3);
  });
}

TEST_CASE_METHOD(LoopTest, "a coroutine that is called where no loop runs is queued") {
  Trace trace;
  Future<> done;
  done.set_result();
  auto ended = note_end(trace, done);
  CHECK(trace.empty());
  run_once();
  CHECK(ended.done());
  CHECK(trace == Trace{"waits", "done"});
  CHECK(loop().run_until_complete(give(4)) == 4);
}

TEST_CASE_METHOD(LoopTest, "a coroutine that has not begun when it is cancelled never begins") {
  Trace trace;
  bool is_gone = false;
  const auto body = [](Trace& t, OnDeath) -> Future<> {
    t.push_back("begun");
    co_return;
  };
  auto ended = body(trace, OnDeath([&] { is_gone = true; }));
  CHECK(ended.cancel());
  CHECK_FALSE(ended.done());
  run_once();
  CHECK(ended.cancelled());
  CHECK(is_gone);
  CHECK(trace.empty());
}

TEST_CASE_METHOD(LoopTest, "without a loop, or with a closed one, there is no coroutine") {
  loop().close();
  CHECK_THROWS_AS(give(1), InvalidStateError);
  set_event_loop(nullptr);
  std::thread([] { CHECK_THROWS_AS(give(1), InvalidStateError); }).join();
}

TEST_CASE_METHOD(LoopTest,
                 "co_await goes on at once if the future is done, and else in its turn, with fibers and callbacks") {
  run([&] {
    Trace trace;
    Future<> future;
    const auto in_coroutine = [&](const char* name) -> Future<> {
      co_await future;
      trace.push_back(name);
      co_await future;  // done
      trace.push_back(name);
    };
    auto first = in_coroutine("coroutine");
    auto second = create_task([&] {
      await(future);
      trace.push_back("fiber");
    });
    let_others_run();
    auto third = in_coroutine("another");
    future.add_done_callback([&](const auto&) { trace.push_back("callback"); });
    future.set_result();
    loop().call_soon([&] { trace.push_back("behind"); });
    CHECK(trace.empty());
    let_others_run();
    CHECK(trace == Trace{"coroutine", "coroutine", "fiber", "another", "another", "callback", "behind"});
    for (const Future<>& one : {first, Future<>(second), third}) CHECK(one.done());
  });
}

TEST_CASE_METHOD(LoopTest, "yield() lets everything run that is ready, once") {
  run([&] {
    Trace trace;
    const auto body = [&](const char* name) -> Future<> {
      for (int i = 0; i < 2; ++i) {
        trace.push_back(name);
        co_await yield();
      }
    };
    auto first = body("a");
    await(gather(first, body("b")));
    CHECK(trace == Trace{"a", "b", "a", "b"});
  });
}

TEST_CASE_METHOD(LoopTest, "delay() is done when its time has passed, and its timer goes with its cancellation") {
  run([&] {
    const TimePoint begun = loop().time();
    await([]() -> Future<> { co_await delay(2ms); }());
    CHECK(loop().time() - begun >= 2ms);
    auto never = delay(1h);
    auto waiting = wait_until(never);
    waiting.cancel();
    CHECK(never.cancelled());
    CHECK_THROWS_AS(await(waiting), FutureCancelledError);
    await(delay(0s));
  });
}

// Results.

TEST_CASE_METHOD(LoopTest, "results are copied, or moved from the last handle; a Task can be returned too") {
  run([] {
    const auto text = []() -> Future<std::string> { co_return "text"; };
    const auto unique = []() -> Task<std::unique_ptr<int>> {
      co_await yield();
      co_return std::make_unique<int>(6);
    };
    const auto both = [&]() -> Task<std::string> {
      auto kept = text();
      co_return co_await kept + co_await kept + co_await text() + std::to_string(*co_await unique());
    };
    auto task = both();
    task.set_name("both");
    CHECK(await(task) == "texttexttext6");
    CHECK(task.name() == "both");
  });
}

TEST_CASE_METHOD(LoopTest, "what the last handle is awaited for is not copied") {
  struct Copied {
    Copied() = default;
    Copied(const Copied& other) : copies(other.copies + 1) {}
    Copied(Copied&&) noexcept = default;
    int copies = 0;
  };
  run([] {
    const auto make = []() -> Future<Copied> {
      co_await yield();
      co_return Copied();
    };
    const auto take = [&]() -> Future<> {
      // Not inside of CHECK, whose expression g++ 12 would await twice.
      const Copied of_the_last = co_await make();
      auto kept = make();
      const Copied of_one_of_two = co_await kept;
      const Copied of_what_is_given_away = co_await std::move(kept);
      CHECK(of_the_last.copies == 0);
      CHECK(of_one_of_two.copies == 1);
      CHECK(of_what_is_given_away.copies == 0);
    };
    await(take());
  });
}

TEST_CASE_METHOD(LoopTest, "what a coroutine throws comes out of await and co_await, and through several") {
  run([] {
    CHECK_THROWS_AS(await(fail()), Boom);
    const auto outer = []() -> Future<> {
      co_await yield();
      co_await fail();
    };
    CHECK_THROWS_AS(await(outer()), Boom);
    const auto catches = []() -> Future<std::string> {
      std::string text;
      try {
        co_await fail();
      } catch (const Boom& boom) {
        text = boom.what();
      }
      co_await yield();
      co_return text;
    };
    CHECK(await(catches()) == "boom");
  });
}

TEST_CASE_METHOD(LoopTest, "what a coroutine held, and its parameters, are gone before anybody hears of its end") {
  run([] {
    Trace trace;
    const auto body = [](Trace& t, OnDeath, bool shall_wait) -> Future<> {
      const OnDeath local([&t] { t.push_back("local"); });
      if (shall_wait) co_await yield();
    };
    for (const bool shall_wait : {false, true}) {
      trace.clear();
      auto ended = body(trace, OnDeath([&] { trace.push_back("parameter"); }), shall_wait);
      ended.add_done_callback([&](const auto&) { trace.push_back("callback"); });
      await(ended);
      let_others_run();
      CHECK(trace == Trace{"local", "parameter", "callback"});
    }
  });
}

TEST_CASE_METHOD(LoopTest, "a parameter whose copy throws, or calls a coroutine, is no danger") {
  struct Throwing {
    Throwing() = default;
    Throwing(const Throwing&) { throw Boom(); }
  };
  struct Calling {
    Calling() = default;
    Calling(const Calling&) : number(give(7).result()) {}
    int number = 0;
  };
  run([] {
    const auto with_throwing = [](Throwing) -> Future<> { co_return; };
    const Throwing throwing;
    CHECK_THROWS_AS(with_throwing(throwing), Boom);
    const auto with_calling = [](Calling calling) -> Future<int> {
      co_await yield();
      co_return calling.number;
    };
    const Calling calling;
    CHECK(await(with_calling(calling)) == 7);
  });
}

// Beside fibers.

TEST_CASE_METHOD(LoopTest, "fibers await coroutines, and coroutines await fibers") {
  run([] {
    const auto twice = [](Task<int> task) -> Future<int> { co_return 2 * co_await task; };
    CHECK(await(twice(number_after(1ms, 4))) == 8);
    CHECK(await(plus_one(twice(number_after(1ms, 4)))) == 9);
  });
}

TEST_CASE_METHOD(LoopTest, "gather, wait, wait_for, with_timeout, shield and select take coroutines") {
  run([] {
    CHECK(await(gather(give(1), plus_one(give(1)))) == std::tuple(1, 2));
    CHECK(wait_for(give(1), 1h) == 1);
    CHECK_THROWS_AS(wait_for(wait_until(Future<>()), 1ms), TimeoutError);
    CHECK(with_timeout(1h, []() -> Future<int> {
            co_await yield();
            co_return 5;
          }) == 5);
    CHECK_THROWS_AS(with_timeout(1ms, [] { return wait_until(Future<>()); }), TimeoutError);
    CHECK(await(shield(give(2))) == 2);
    const std::vector<Future<>> some{yield_times(1), yield_times(2)};
    CHECK(tulp::wait(some).done.size() == 2);
    bool is_done = false;
    select(on_done(yield_times(1), [&](const auto&) { is_done = true; }));
    CHECK(is_done);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "create_task, ensure_future, run_until_complete and run_threadsafe await what a coroutine returns") {
  std::string kept = "captured";
  const auto body = [kept](int number) -> Future<std::string> {
    co_await yield();
    co_return kept + std::to_string(number);
  };
  CHECK(loop().run_until_complete([&] { return body(1); }) == "captured1");
  run([&] {
    static_assert(std::is_same_v<decltype(create_task(body, 2)), Task<std::string>>);
    CHECK(await(create_task(body, 2)) == "captured2");
    // The lambda lives as long as the task.
    CHECK(await(create_task([kept]() -> Future<std::string> {
            co_await yield();
            co_return kept;
          })) == "captured");
    auto result = run_threadsafe(loop(), [&] { return body(3); });
    CHECK(await(wrap_future(std::move(result))) == "captured3");
  });
}

TEST_CASE_METHOD(LoopTest, "a group takes coroutines, called or not, waits for them and cancels them") {
  run([] {
    Trace trace;
    with_task_group([&](TaskGroup& group) {
      auto called = group.create_task(yield_times(3));
      group.create_task([&trace, called]() -> Future<> {
        co_await called;
        trace.push_back("called");
      });
    });
    CHECK(trace == Trace{"called"});
    trace.clear();
    CHECK_THROWS_AS(with_task_group([&](TaskGroup& group) -> Future<> {
                      group.create_task(note_end(trace, Future<>()));
                      co_await yield();
                      co_await fail();
                    }),
                    ExceptionGroup);
    CHECK(trace == Trace{"waits", "CancelledError"});
    trace.clear();
    TaskGroup* ended = nullptr;
    with_task_group([&](TaskGroup& group) {
      group.create_task(Future<>()).cancel();
      group.cancel();
      ended = &group;
      CHECK_THROWS_AS(group.create_task(note_end(trace, Future<>())), InvalidStateError);
    });
    CHECK(ended != nullptr);
    let_others_run();
    CHECK(trace == Trace{"waits", "CancelledError"});
  });
}

TEST_CASE_METHOD(LoopTest, "what may park throws in a coroutine, on the loop's stack and on a fiber's alike") {
  run([] {
    const auto body = []() -> Future<> {
      for (int i = 0; i < 2; ++i) {
        CHECK_THROWS_WITH(sleep(0s), Catch::Contains("sleep() may park") && Catch::Contains("in a coroutine"));
        CHECK_THROWS_AS(await(give(1)), InvalidStateError);
        Lock lock;
        CHECK_THROWS_AS(lock.acquire(), InvalidStateError);
        CHECK_THROWS_AS(with_timeout(1s, [] {}), InvalidStateError);
        co_await yield();
      }
    };
    await(body());
    CHECK_NOTHROW(sleep(0s));  // the fiber that it began on may park again
  });
}

TEST_CASE_METHOD(LoopTest, "in_fiber() lends a coroutine a fiber; what does not park does not suspend the coroutine") {
  run([] {
    Queue<int> queue;
    const auto body = [&]() -> Future<int> {
      int sum = 0;
      for (int i = 0; i < 3; ++i) sum += co_await in_fiber([&] { return queue.get(); });
      co_return sum;
    };
    queue.put_nowait(1);
    queue.put_nowait(2);
    queue.put_nowait(3);
    CHECK(body().done());  // on this fiber's stack
    auto waiting = body();
    for (int i = 1; i <= 3; ++i) {
      CHECK_FALSE(waiting.done());
      queue.put(i);
      let_others_run(2);
    }
    CHECK(waiting.result() == 6);
    auto cancelled = body();
    cancelled.cancel();
    CHECK_THROWS_AS(await(cancelled), FutureCancelledError);
    CHECK(all_tasks().size() == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "current_task() in a coroutine is the coroutine, and around it who it was") {
  run([] {
    const TaskHandle me = current_task();
    Future<> future;
    std::vector<TaskHandle> seen;
    const auto inner = [&]() -> Future<> {
      seen.push_back(current_task());
      co_return;
    };
    const auto outer = [&]() -> Task<> {
      seen.push_back(current_task());
      co_await inner();
      CHECK(current_task() == seen[0]);
      create_task({.eager = true}, [&] { seen.push_back(current_task()); });
      CHECK(current_task() == seen[0]);
      co_await future;
      CHECK(current_task() == seen[0]);
    };
    auto task = outer();
    CHECK(current_task() == me);
    CHECK(seen.at(0) == TaskHandle(task));
    CHECK_FALSE(seen.at(1) == seen.at(0));
    CHECK_FALSE(seen.at(2) == seen.at(0));
    CHECK(all_tasks() == std::vector<TaskHandle>{me, task});
    future.set_result();
    await(task);
    CHECK(all_tasks() == std::vector<TaskHandle>{me});
  });
}

TEST_CASE_METHOD(LoopTest, "context variables travel into a coroutine, and what it sets stays its own") {
  static ContextVar<int> number("number", 0);
  run([] {
    number.set(1);
    Future<> future;
    const auto body = [&]() -> Future<int> {
      const int before = number.get();
      number.set(2);
      co_await future;
      co_return 10 * before + number.get();
    };
    auto ended = body();
    CHECK(number.get() == 1);
    number.set(3);
    future.set_result();
    CHECK(await(ended) == 12);
    CHECK(number.get() == 3);
  });
}

// Cancellation.

TEST_CASE_METHOD(LoopTest, "a cancellation is passed on to what is awaited, and comes as a CancelledError") {
  run([] {
    Trace trace;
    Future<> future;
    auto ended = note_end(trace, future);
    CHECK(ended.cancel("enough"));
    CHECK(future.cancelled());
    CHECK_FALSE(ended.done());
    CHECK_THROWS_WITH(await(ended), Catch::Contains("enough"));
    CHECK(ended.cancelled());
    CHECK(trace == Trace{"waits", "CancelledError"});
    CHECK_FALSE(ended.cancel());
  });
}

TEST_CASE_METHOD(LoopTest, "what somebody else waits for is left to him") {
  run([] {
    Trace trace;
    Future<> future;
    auto one = note_end(trace, future);
    auto other = note_end(trace, future);
    one.cancel();
    let_others_run();
    CHECK(one.cancelled());
    CHECK_FALSE(future.done());
    future.set_result();
    await(other);
    CHECK(trace == Trace{"waits", "waits", "CancelledError", "done"});
  });
}

TEST_CASE_METHOD(LoopTest, "a coroutine whose awaited task is cancelled with it goes on when that has ended") {
  run([] {
    Trace trace;
    const auto body = [&]() -> Future<> {
      const OnDeath local([&] { trace.push_back("local"); });
      co_await create_task([&] {
        const OnDeath end([&] { trace.push_back("task"); });
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          const CancelShield shield;
          let_others_run(3);
          throw;
        }
      });
    };
    auto ended = body();
    let_others_run();
    ended.cancel();
    CHECK_THROWS_AS(await(ended), FutureCancelledError);
    CHECK(trace == Trace{"task", "local"});
  });
}

TEST_CASE_METHOD(LoopTest, "a cancellation that comes when the future is done waits for the next suspension") {
  run([] {
    Trace trace;
    Future<int> number;
    Future<> next;
    const auto body = [&]() -> Future<> {
      trace.push_back(std::to_string(co_await number));
      co_await give(1);  // does not suspend
      co_await note_end(trace, next);
    };
    auto ended = body();
    number.set_result(5);
    ended.cancel();
    CHECK_THROWS_AS(await(ended), FutureCancelledError);
    CHECK(trace == Trace{"5", "waits", "CancelledError"});
    CHECK(next.cancelled());
  });
}

TEST_CASE_METHOD(LoopTest, "a result that a late cancellation finds wins; one that nobody has seen cancels") {
  run([] {
    Future<> first;
    auto late = wait_until(first);
    first.set_result();
    late.cancel();
    CHECK_NOTHROW(await(late));
    const auto cancels_itself = []() -> Task<> {
      current_task().cancel();
      co_return;
    };
    CHECK(cancels_itself().cancelled());
  });
}

TEST_CASE_METHOD(LoopTest, "the cancellation of the future by another is a FutureCancelledError, and a failure") {
  run([] {
    Trace trace;
    Future<> future;
    auto ended = note_end(trace, future);
    future.cancel();
    CHECK_THROWS_AS(await(ended), FutureCancelledError);
    CHECK_FALSE(ended.cancelled());
    CHECK(trace == Trace{"waits", "FutureCancelledError"});
  });
}

TEST_CASE_METHOD(LoopTest, "each request is one CancelledError; CancelShield and uncancel() are as in fibers") {
  run([] {
    int cancellations = 0;
    Future<> step;
    const auto body = [&]() -> Task<> {
      for (int i = 0; i < 2; ++i) {
        try {
          co_await Future<>();
        } catch (const CancelledError&) {
          ++cancellations;
          TaskHandle(current_task()).uncancel();
        }
      }
      {
        const CancelShield shield;
        co_await step;
      }
      co_await Future<>();
    };
    auto task = body();
    task.cancel();
    let_others_run();
    task.cancel();
    let_others_run();
    CHECK(cancellations == 2);
    CHECK(task.cancelling() == 0);
    task.cancel();
    let_others_run();
    CHECK_FALSE(task.done());
    CHECK_FALSE(step.done());
    step.set_result();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
  });
}

TEST_CASE_METHOD(LoopTest, "a chain of coroutines is cancelled from its end, each part after what it awaits") {
  run([] {
    Trace trace;
    std::function<Future<>(int)> chain = [&](int depth) -> Future<> {
      const OnDeath local([&trace, depth] { trace.push_back(std::to_string(depth)); });
      Future<> before;
      if (depth > 0) before = chain(depth - 1);
      co_await before;
    };
    auto ended = chain(3);
    ended.cancel();
    CHECK_THROWS_AS(await(ended), FutureCancelledError);
    CHECK(trace == Trace{"0", "1", "2", "3"});
  });
}

TEST_CASE_METHOD(LoopTest, "in debug mode a swallowed cancellation is reported, and one that is thrown on is not") {
  run([&] {
    loop().set_debug(true);
    const auto swallows = []() -> Task<> {
      try {
        co_await Future<>();
      } catch (const CancelledError&) {
      }
    };
    auto bad = swallows();
    bad.cancel();
    CHECK_NOTHROW(await(bad));
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK_THAT(reports[0].message, Catch::Contains("swallowed"));
    CHECK(reports[0].object == "coroutine '" + bad.name() + "'");
    const auto cleans_up = []() -> Future<> {
      std::exception_ptr cancelled;
      try {
        co_await Future<>();
      } catch (const CancelledError&) {
        cancelled = std::current_exception();
      }
      const CancelShield shield;
      co_await yield();
      std::rethrow_exception(cancelled);
    };
    auto good = cleans_up();
    good.cancel();
    CHECK_THROWS_AS(await(good), FutureCancelledError);
    CHECK(good.cancelled());
    loop().set_debug(false);
  });
}

TEST_CASE_METHOD(LoopTest, "a coroutine that is left when the loop closes is cancelled and runs to its end") {
  Trace trace;
  auto* const report = &trace;
  const auto body = [](Trace* t) -> Future<> {
    try {
      co_await Future<>();
    } catch (const CancelledError&) {
      t->push_back("cancelled");
    }
    const CancelShield shield;
    co_await delay(1ms);
    t->push_back("cleaned up");
  };
  run([&] { body(report); });
  loop().close();
  CHECK(trace == Trace{"cancelled", "cleaned up"});
}

// Errors.

TEST_CASE_METHOD(LoopTest, "a failure that nobody takes note of is reported with the coroutine's place") {
  run([] { fail(); });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(reports[0].object, Catch::StartsWith("coroutine 'Task-"));
  const std::string text = to_string(reports[0]);
  CHECK_THAT(text, Catch::Contains("boom") && Catch::Contains("coroutines_test.cpp:"));
}

TEST_CASE_METHOD(LoopTest, "an error of a fiber keeps the stack of its throw on its way through coroutines") {
  int line_of_throw = 0, line_of_await = 0;
  run([&] {
    line_of_throw = __LINE__ + 1;
    auto failing = create_task([] { throw Boom(); });
    line_of_await = __LINE__ + 1;
    const auto body = [](Task<> task) -> Future<> { co_await task; };
    const auto outer = [](Future<> inner) -> Future<> { co_await inner; };
    outer(body(failing));
    let_others_run(5);
  });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  REQUIRE(reports[0].trace != nullptr);
  CHECK(reports[0].trace->awaited_at.size() == 2);
  const auto place = [](int line) { return "coroutines_test.cpp:" + std::to_string(line); };
  const std::string text = to_string(reports[0]);
  CAPTURE(text);
  CHECK(text.find(place(line_of_throw)) < text.find(place(line_of_await)));
  CHECK(text.find(place(line_of_await)) < text.rfind(place(line_of_await + 1)));
}

TEST_CASE_METHOD(LoopTest, "an error that is caught does not lend its stack to the next one") {
  run([&] {
    auto failing = create_task([] { throw Boom(); });
    const auto body = [](Task<> task) -> Future<> {
      try {
        co_await task;
      } catch (const Boom&) {
      }
      throw Boom("another");
    };
    body(failing);
    let_others_run(5);
  });
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].trace == nullptr);
}

TEST_CASE_METHOD(LoopTest, "a future of another loop, and the coroutine's own, are errors") {
  const auto other_loop = make_loop(kind());
  Future<> other(*other_loop);
  run([&] {
    CHECK_THROWS_AS(await(wait_until(other)), InvalidStateError);
    Future<Future<>> itself;
    const auto body = [&]() -> Future<> { co_await co_await itself; };
    auto ended = body();
    itself.set_result(ended);
    CHECK_THROWS_WITH(await(ended), Catch::Contains("cannot wait for itself"));
  });
  other.cancel();
}

TEST_CASE_METHOD(LoopTest, "coroutines and fibers that wait for each other in a ring are told so") {
  run([] {
    Future<Future<>> next;
    const auto body = [&]() -> Future<> { co_await co_await next; };
    auto coroutine = body();
    auto fiber = create_task([&] { await(coroutine); });
    let_others_run();
    next.set_result(fiber);
    CHECK_THROWS_WITH(await(fiber), Catch::Contains("waits, in the end, for this task"));
  });
}

TEST_CASE_METHOD(LoopTest, "a dump shows a coroutine with what it waits for and the line where it stands") {
  run([] {
    Future<> future;
    const int line = __LINE__ + 1;
    const auto body = [](Future<> to_come) -> Task<> { co_await to_come; };
    auto task = body(future);
    task.set_name("waiting one");
    const std::string text = dump();
    CAPTURE(text);
    const auto at = text.find("coroutine 'waiting one'");
    REQUIRE(at != std::string::npos);
    CHECK(text.find("waits for future created at", at) != std::string::npos);
    CHECK(text.find("coroutines_test.cpp:" + std::to_string(line), text.find("waits for", at)) != std::string::npos);
    future.set_result();
    CHECK_THAT(dump(), Catch::Contains("is ready to go on"));
    await(task);
  });
  auto queued = give(1);
  CHECK_THAT(dump(), Catch::Contains("has not begun"));
  run_once();
  CHECK(queued.result() == 1);
}

TEST_CASE("a coroutine that can never go on is named by the report of a deadlock") {
  const auto stuck = []() -> Future<> { co_await Future<>(); };
  CHECK_THROWS_WITH(testing::run(stuck, {.deadlock_after = 0s}),
                    Catch::Contains("coroutine 'Task-2'") && Catch::Contains("waits for future created at"));
}

// Many.

TEST_CASE_METHOD(
    LoopTest, "a hundred thousand coroutines that finish at once, or wait for each other in a chain, need no stack") {
  if (kind() != LoopKind::epoll) return;  // it takes a second
  constexpr int count = 100'000;
  run([&] {
    const auto sum = []() -> Future<int> {
      int total = 0;
      for (int i = 0; i < count; ++i) total += co_await give(1);
      co_return total;
    };
    CHECK(await(sum()) == count);
    struct Chain {
      static Future<int> link(int left, Future<> last) {
        if (left == 0) {
          co_await last;
          co_return 0;
        }
        co_return 1 + co_await link(left - 1, last);
      }
    };
    Future<> last;
    auto chain = Chain::link(count, last);
    let_others_run(count / 30);
    last.set_result();
    CHECK(await(chain) == count);
    auto cancelled = Chain::link(count, Future<>());
    let_others_run(count / 30);
    cancelled.cancel();
    CHECK_THROWS_AS(await(cancelled), FutureCancelledError);
    CHECK(all_tasks().size() == 1);
  });
}

TEST_CASE("run() and run_main() take a coroutine as main") {
  CHECK(tulp::run([]() -> Future<int> {
          co_await delay(1ms);
          co_return 7;
        }) == 7);
  CHECK(run_main([]() -> Future<> { co_await yield(); }) == 0);
}
