// Tasks: semantics rows 22 to 26, 29 to 31.
#include <tulp/task.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "support/allocations.hpp"
#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
template <class T>
concept CanSleepFor = requires(T delay) {
  sleep(delay);
};
}  // namespace

static_assert(!CanSleepFor<int>, "sleep(1) is POSIX's: a number without a unit does not compile");
static_assert(!CanSleepFor<unsigned>);
static_assert(!CanSleepFor<double>);
static_assert(CanSleepFor<std::chrono::milliseconds>);
static_assert(CanSleepFor<std::chrono::duration<float>>);

// Creation.

TEST_CASE_METHOD(LoopTest, "a task's first step is queued, never run inline") {
  Trace trace;
  loop().call_soon([&] { trace.push_back("before"); });
  auto task = create_task([&] { trace.push_back("task"); });
  loop().call_soon([&] { trace.push_back("behind"); });
  CHECK(trace.empty());
  CHECK_FALSE(task.done());
  run_once();
  CHECK(trace == Trace{"before", "task", "behind"});
  CHECK(task.done());
}

TEST_CASE_METHOD(LoopTest, "a task is a Future: its result can be copied, moved or void") {
  run([&] {
    auto copyable = create_task([] { return std::string("text"); });
    auto move_only = create_task([] { return std::make_unique<int>(6); });
    auto nothing = create_task([] {});
    static_assert(std::is_convertible_v<decltype(copyable), Future<std::string>>);
    CHECK(await(copyable) == "text");
    CHECK(await(copyable) == "text");
    CHECK(*await(move_only) == 6);
    CHECK_THROWS_AS(await(move_only), InvalidStateError);
    await(nothing);
    await(nothing);
  });
}

TEST_CASE_METHOD(LoopTest, "a result that is returned by reference is stored decayed") {
  static std::string global = "global";
  run([&] {
    auto task = create_task([]() -> std::string& { return global; });
    static_assert(std::is_same_v<decltype(task), Task<std::string>>);
    CHECK(await(task) == "global");
  });
}

TEST_CASE_METHOD(LoopTest, "arguments are stored decayed and moved into the call; members can be called") {
  struct Account {
    int balance = 0;
    int add(int amount) { return balance += amount; }
  } account;
  run([&] {
    auto moved = create_task([](std::unique_ptr<int> value) { return *value; }, std::make_unique<int>(3));
    auto member = create_task(&Account::add, &account, 5);
    auto by_reference = create_task([](int& n) { ++n; }, std::ref(account.balance));
    CHECK(await(moved) == 3);
    CHECK(await(member) == 5);
    await(by_reference);
    CHECK(account.balance == 6);
  });
}

TEST_CASE_METHOD(LoopTest, "tasks are named Task-1, Task-2 and so on, unless they are given a name") {
  auto first = create_task([] {});
  auto second = create_task([] {});
  auto named = create_task({.name = "crawl"}, [] { return current_task().name(); });
  CHECK(first.name() == "Task-1");
  CHECK(second.name() == "Task-2");
  CHECK(named.name() == "crawl");
  named.set_name("renamed");
  run([&] { CHECK(await(named) == "renamed"); });
  CHECK(named.name() == "renamed");
}

TEST_CASE_METHOD(LoopTest, "current_task() is the running one, across parks, and none in callbacks") {
  CHECK_FALSE(current_task());
  auto other = create_task([] { let_others_run(3); });
  auto task = create_task([&] {
    const TaskHandle me = current_task();
    loop().call_soon([] { CHECK_FALSE(current_task()); });
    let_others_run();
    CHECK(current_task() == me);
    CHECK_FALSE(current_task() == TaskHandle(other));
    return me.name();
  });
  run([&] { CHECK(await(task) == task.name()); });
}

TEST_CASE_METHOD(LoopTest, "all_tasks() are those of this loop that have not ended, in the order of their creation") {
  CHECK(all_tasks().empty());
  auto one = create_task([] {});
  auto two = create_task([] { let_others_run(); });
  auto three = create_task([] {});
  CHECK(all_tasks() == std::vector<TaskHandle>{one, two, three});
  run_once();
  CHECK(all_tasks() == std::vector<TaskHandle>{two});
  run_once();
  CHECK(all_tasks().empty());
}

TEST_CASE_METHOD(LoopTest, "a task gets the stack that it asks for") {
  run([&] {
    auto task = create_task({.stack_size_bytes = 1 << 20}, [&] {
      volatile char frame[900 * 1024];
      frame[0] = 1;
      CHECK(current_task().stack_size_bytes() == 1 << 20);
      CHECK(current_task().stack_high_water_bytes() >= 900 * 1024 * (frame[0] + 0U));
      return true;
    });
    CHECK(await(task));
    CHECK(task.stack_high_water_bytes() == 0);
    CHECK_THROWS_AS(create_task({.stack_size_bytes = std::size_t{1} << 60}, [] {}), std::invalid_argument);
  });
}

TEST_CASE_METHOD(LoopTest, "a callable and its arguments are destroyed before anybody hears of the end") {
  struct Logged {
    explicit Logged(Trace* log) : trace(log) {}
    Logged(Logged&& other) noexcept : trace(std::exchange(other.trace, nullptr)) {}
    ~Logged() {
      if (trace != nullptr) trace->push_back("callable destroyed");
    }
    Trace* trace;
  };
  Trace trace;
  run([&] {
    auto task = create_task([held = Logged(&trace)] { let_others_run(); });
    task.add_done_callback([&](const Future<>&) { trace.push_back("callback"); });
    await(task);
    trace.push_back("awaited");
  });
  CHECK(trace.front() == "callable destroyed");
  CHECK(trace.size() == 3);
}

TEST_CASE_METHOD(InVirtualTime<>, "a running task needs no handle: the loop owns it") {
  Trace trace;
  create_task([&] {
    Future<> future;
    loop().call_later(1ms, [future]() mutable { future.set_result(); });
    await(future);
    trace.push_back("ended");
  });
  run([] { sleep(2ms); });
  CHECK(trace == Trace{"ended"});
}

TEST_CASE_METHOD(InVirtualTime<>, "a handle may be dropped on a foreign thread while the task runs") {
  run([&] {
    std::optional<Task<int>> task(create_task([] {
      sleep(2ms);
      return 1;
    }));
    let_others_run();
    std::thread([&] { task.reset(); }).join();
    sleep(4ms);
  });
}

TEST_CASE_METHOD(LoopTest, "a task makes progress whenever its creator waits for anything else") {
  run([&] {
    int steps = 0;
    auto task = create_task([&] {
      for (; steps < 5; ++steps) let_others_run();
    });
    sleep(1ms);
    CHECK(steps > 0);
    await(task);
    CHECK(steps == 5);
  });
}

TEST_CASE_METHOD(LoopTest, "set_result and set_exception on a task throw InvalidStateError") {
  run([&] {
    auto task = create_task([] { return 1; });
    CHECK_THROWS_AS(task.set_result(2), InvalidStateError);
    CHECK_THROWS_AS(task.set_exception(Boom()), InvalidStateError);
    Future<int> base = task;
    CHECK_THROWS_AS(base.set_result(2), InvalidStateError);
    CHECK(await(task) == 1);
    CHECK_THROWS_AS(task.set_result(2), InvalidStateError);
  });
}

TEST_CASE_METHOD(LoopTest, "create_task on a closed loop throws InvalidStateError and runs nothing") {
  loop().close();
  auto held = std::make_shared<int>();
  CHECK_THROWS_AS(create_task([held] {}), InvalidStateError);
  CHECK(held.use_count() == 1);
}

TEST_CASE_METHOD(LoopTest, "creating a task, its running, sleeping and ending allocate nothing") {
  run([&] {
    const auto body = [] {
      let_others_run();
      sleep(1us);
      return 1;
    };
    for (int i = 0; i < 3; ++i) await(create_task(body));  // warm: a fiber, room in the timer queue
    const AllocationCount creating;
    auto task = create_task(body);
    const auto created = creating.count();
    const AllocationCount running;
    const int value = await(std::move(task));
    const auto ran = running.count();
    CHECK(value == 1);
    if (AllocationCount::is_counting()) {
      CHECK(created == 0);
      // The one keeps its timers in a map, and the other has given the memory for its own to somebody else now and then.
      const bool is_frugal =
          kind() != LoopKind::foreign && std::string_view(tested_host() ? tested_host() : "") != "asio";
      if (is_frugal) CHECK(ran == 0);
    }
  });
}

// sleep.

TEST_CASE_METHOD(LoopTest, "sleep(0) lets everything run that is ready, exactly once") {
  Trace trace;
  run([&] {
    auto other = create_task([&] {
      for (int i = 1; i <= 3; ++i) {
        trace.push_back("other " + std::to_string(i));
        sleep(0s);
      }
    });
    loop().call_soon([&] { trace.push_back("callback"); });
    for (int i = 1; i <= 2; ++i) {
      sleep(0s);
      trace.push_back("main " + std::to_string(i));
    }
    await(other);
  });
  CHECK(trace == Trace{"other 1", "callback", "main 1", "other 2", "main 2", "other 3"});
}

TEST_CASE_METHOD(LoopTest, "sleep never ends early; a negative delay is zero") {
  run([&] {
    for (const Duration delay : {Duration(300us), Duration(1ms), Duration(1700us)}) {
      const TimePoint start = loop().time();
      sleep(delay);
      CHECK(loop().time() >= start + std::chrono::nanoseconds(delay));
    }
    const TimePoint start = loop().time();
    sleep(-1h);
    sleep(std::chrono::hours::min());
    CHECK(loop().time() < start + 10s);
    CHECK_THROWS_AS(sleep(std::chrono::duration<double>(std::nan(""))), std::invalid_argument);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "sleepers wake in the order of their time, and equal ones in the order in which they came") {
  Trace trace;
  run([&] {
    std::vector<Task<>> tasks;
    const auto sleeper = [&](std::string name, Duration delay) {
      tasks.push_back(create_task([&trace, name, delay] {
        sleep(delay);
        trace.push_back(name);
      }));
    };
    sleeper("late", 3ms);
    sleeper("early", 1ms);
    sleeper("never", Duration::max());
    for (const auto& task : tasks)
      if (&task != &tasks.back()) await(task);
    tasks.back().cancel();
    CHECK_THROWS_AS(await(tasks.back()), FutureCancelledError);
  });
  CHECK(trace == Trace{"early", "late"});
}

TEST_CASE_METHOD(InVirtualTime<>, "a sleeper goes on behind the timers that are due together with its own") {
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      sleep(1ms);
      trace.push_back("sleeper");
    });
    let_others_run();
    loop().call_later(1ms, [&] {
      trace.push_back("timer");
      loop().call_soon([&] { trace.push_back("called by the timer"); });
    });
    let_pass(3ms);
    await(task);
    let_others_run();
  });
  CHECK(trace == Trace{"timer", "sleeper", "called by the timer"});
}

// Failure.

TEST_CASE_METHOD(LoopTest, "an exception that leaves the body is the task's, and its waiter gets it") {
  run([&] {
    auto task = create_task([]() -> int { throw Boom(); });
    CHECK_THROWS_AS(await(task), Boom);
    CHECK_FALSE(task.cancelled());
    CHECK(describe(task.exception()) == "boom");
    auto strange = create_task([] { throw 42; });
    CHECK_THROWS_AS(await(strange), int);
  });
}

TEST_CASE_METHOD(LoopTest, "a direct call is a plain call: its exceptions propagate") {
  run([&] {
    const auto helper = [] {
      let_others_run();
      throw Boom();
    };
    CHECK_THROWS_AS(helper(), Boom);
  });
}

TEST_CASE_METHOD(
    LoopTest, "a failure that nobody retrieved is reported once, with the task's name and the place of its creation") {
  SECTION("the handle was dropped before the end") {
    create_task({.name = "crawl"}, [] { throw Boom(); });
    run_once();
  }
  SECTION("the handle was dropped behind the end") {
    {
      auto task = create_task({.name = "crawl"}, [] { throw Boom(); });
      run_once();
      CHECK(task.done());
      CHECK(report_count() == 0);
    }
  }
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message == "task exception was never retrieved");
  CHECK(reports[0].object == "task 'crawl'");
  CHECK(describe(reports[0].exception) == "boom");
  CHECK(reports[0].created_at != nullptr);
}

TEST_CASE_METHOD(LoopTest, "a failure that was retrieved is not reported, nor an ignored success or a cancellation") {
  run([&] {
    auto awaited = create_task([] { throw Boom(); });
    CHECK_THROWS_AS(await(awaited), Boom);
    auto asked = create_task([] { throw Boom(); });
    let_others_run();
    CHECK(asked.exception() != nullptr);
    auto cancelled_late = create_task([] { throw Boom(); });
    let_others_run();
    CHECK_FALSE(cancelled_late.cancel());
    create_task([] { return 1; });
    create_task([] { sleep(1h); }).cancel();
    let_others_run(3);
  });
  CHECK(report_count() == 0);
}

TEST_CASE_METHOD(LoopTest, "the handler of a report runs outside of the task that failed, and may not park") {
  bool handled = false;
  loop().set_exception_handler([&](EventLoop&, const ExceptionContext&) {
    handled = true;
    CHECK_FALSE(current_task());
    CHECK_THROWS_AS(sleep(0s), InvalidStateError);
  });
  run([&] {
    create_task([] { throw Boom(); });  // the loop's is the last reference
    let_others_run(2);
  });
  CHECK(handled);
}

TEST_CASE_METHOD(LoopTest,
                 "a result whose destructor asks for the current task finds none, though nobody took the result") {
  struct Nosy {
    explicit Nosy(int* s) : seen(s) {}
    Nosy(Nosy&& other) noexcept : seen(std::exchange(other.seen, nullptr)) {}
    ~Nosy() {
      if (seen != nullptr) *seen = current_task() ? 2 : 1;
    }
    int* seen;
  };
  int seen = 0;
  run([&] {
    create_task([&] { return Nosy(&seen); });
    let_others_run(2);
  });
  CHECK(seen == 1);
}

// Awaiting.

TEST_CASE_METHOD(LoopTest, "a task that awaits itself gets InvalidStateError") {
  Task<> task = create_task([&] { CHECK_THROWS_AS(await(task), InvalidStateError); });
  run([&] { await(task); });
}

TEST_CASE_METHOD(LoopTest, "two tasks that wait for each other: the second one gets InvalidStateError") {
  run([&] {
    std::vector<Task<>> tasks;
    for (std::size_t other : {1, 0}) tasks.push_back(create_task([&tasks, other] { await(tasks[other]); }));
    CHECK_THROWS_AS(await(tasks[1]), InvalidStateError);
    CHECK_THROWS_AS(await(tasks[0]), InvalidStateError);
  });
}

TEST_CASE_METHOD(LoopTest, "a circle of tasks that is too large to be noticed can be cancelled all the same") {
  run([&] {
    constexpr std::size_t count = 200;
    std::vector<Task<>> tasks;
    for (std::size_t i = 0; i < count; ++i)
      tasks.push_back(create_task([&tasks, next = (i + 1) % count] { await(tasks[next]); }));
    let_others_run(2);
    CHECK_FALSE(tasks[7].done());
    tasks[7].cancel();
    let_others_run(count + 1);
    for (auto& task : tasks) {
      CHECK(task.done());
      task.cancel();  // takes note, whatever the end
    }
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a callback waits for a task, and a task for a callback: each style hands over to the other") {
  int seen = 0;
  auto task = create_task([&] {
    Future<int> from_callback;
    loop().call_soon([from_callback]() mutable { from_callback.set_result(20); });
    return await(from_callback) + 1;
  });
  task.add_done_callback([&](const Future<int>& t) {
    seen = t.result();
    loop().stop();
  });
  loop().run_forever();
  CHECK(seen == 21);
}

TEST_CASE_METHOD(LoopTest, "a hundred deep calls park and throw like any other code") {
  std::function<int(int)> descend = [&](int depth) {
    if (depth == 0) throw Boom();
    let_others_run();
    return descend(depth - 1) + 1;
  };
  run([&] {
    auto one = create_task([&] { return descend(100); });
    auto two = create_task([&] { return descend(50); });
    CHECK_THROWS_AS(await(one), Boom);
    CHECK_THROWS_AS(await(two), Boom);
  });
}
