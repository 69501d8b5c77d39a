// ContextVar: the second list of semantics, row 14; and eager tasks, row 11.
#include <tulp/context_var.hpp>
#include <tulp/executor.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "a context variable has its default, and then what was set, until that is reset") {
  ContextVar<int> bare("bare");
  ContextVar<std::string> request("request", "none");
  run([&] {
    CHECK(bare.name() == "bare");
    CHECK_THROWS_WITH(bare.get(), "the context variable 'bare' has no value");
    CHECK(bare.get(4) == 4);
    CHECK(request.get() == "none");
    auto first = request.set("first");
    auto second = request.set("second");
    CHECK(request.get() == "second");
    request.reset(second);
    CHECK(request.get() == "first");
    CHECK_THROWS_AS(request.reset(second), InvalidStateError);
    ContextVar<std::string> other("other", "");
    CHECK_THROWS_AS(other.reset(first), std::invalid_argument);
    request.reset(first);
    CHECK(request.get() == "none");
  });
}

TEST_CASE_METHOD(LoopTest, "a task begins with its creator's values, and what it sets nobody else sees") {
  ContextVar<int> var("var", 0);
  run([&] {
    var.set(1);
    auto child = create_task([&] {
      CHECK(var.get() == 1);
      var.set(2);
      auto grandchild = create_task([&] { return var.get(); });
      sleep(0s);
      CHECK(await(grandchild) == 2);
      return var.get();
    });
    var.set(3);  // too late for the child
    sleep(0s);
    CHECK(var.get() == 3);
    CHECK(await(child) == 2);
    CHECK(var.get() == 3);
  });
  CHECK(var.get() == 0);
}

TEST_CASE_METHOD(LoopTest, "a callback sees the values of whoever scheduled it, and keeps its changes to itself") {
  ContextVar<int> var("var", 0);
  run([&] {
    Trace trace;
    const auto note = [&] {
      trace.push_back(std::to_string(var.get()));
      var.set(100);
    };
    Future<> future;
    auto task = create_task([&] {
      var.set(5);
      loop().call_soon(note);
      loop().call_later(1us, note);
      future.add_done_callback([=](const Future<>&) { note(); });
    });
    await(task);
    var.set(6);
    loop().call_soon(note);
    future.set_result();
    sleep(2ms);
    CHECK(trace.size() == 4);
    CHECK(std::count(trace.begin(), trace.end(), "5") == 3);
    CHECK(std::count(trace.begin(), trace.end(), "6") == 1);
    CHECK(var.get() == 6);
  });
}

TEST_CASE_METHOD(LoopTest, "to_thread carries the values along, and brings none back") {
  ContextVar<int> var("var", 0);
  run([&] {
    var.set(7);
    CHECK(to_thread([&] {
            const int seen = var.get();
            var.set(8);
            return seen;
          }) == 7);
    CHECK(var.get() == 7);
  });
}

TEST_CASE_METHOD(LoopTest, "values outlive the variable, and a variable in its place has none") {
  run([] {
    for (int i = 0; i < 3; ++i) {
      ContextVar<std::string> var("var");
      CHECK(var.get("none") == "none");
      var.set("value");
    }
  });
}

TEST_CASE_METHOD(LoopTest, "an eager task runs at once as far as its first park, as the current task") {
  run([] {
    Trace trace;
    const TaskHandle creator = current_task();
    auto task = create_task(TaskOptions{.name = "eager", .eager = true}, [&] {
      trace.push_back("begins as " + current_task().name());
      sleep(0s);
      trace.push_back("goes on");
      return 5;
    });
    CHECK(current_task() == creator);
    trace.push_back("created");
    CHECK_FALSE(task.done());
    CHECK(await(task) == 5);
    CHECK(trace == Trace{"begins as eager", "created", "goes on"});
  });
}

TEST_CASE_METHOD(LoopTest, "an eager task that does not park has ended when create_task returns, whatever its end") {
  run([] {
    CHECK(create_task(TaskOptions{.eager = true}, [] { return 6; }).result() == 6);
    auto failed = create_task(TaskOptions{.eager = true}, [] { throw std::runtime_error("boom"); });
    CHECK(describe(failed.exception()) == "boom");
    auto cancelled = create_task(TaskOptions{.eager = true}, [] {
      current_task().cancel();
      sleep(1h);
    });
    CHECK_FALSE(cancelled.done());  // it has parked, and gets its CancelledError in its turn
    CHECK_THROWS_AS(await(cancelled), FutureCancelledError);
  });
}

TEST_CASE_METHOD(LoopTest, "eager tasks may be nested, and made in callbacks; the order of the others stays") {
  Trace trace;
  const auto eager = [](auto body) { return create_task(TaskOptions{.eager = true}, body); };
  run([&] {
    auto ready = create_task([&] { trace.push_back("was ready"); });
    auto outer = eager([&] {
      trace.push_back("outer");
      auto inner = eager([&] {
        trace.push_back("inner");
        sleep(0s);
        trace.push_back("inner goes on");
      });
      trace.push_back("outer again");
      await(inner);
    });
    trace.push_back("creator");
    await(outer);
    CHECK(ready.done());
  });
  CHECK(trace == Trace{"outer", "inner", "outer again", "creator", "was ready", "inner goes on"});
  trace.clear();
  loop().call_soon([&] {
    eager([&] {
      trace.push_back("in a callback");
      sleep(0s);
    });
    trace.push_back("callback goes on");
  });
  loop().call_soon([&] { trace.push_back("next callback"); });
  for (int i = 0; i < 4; ++i) run_once();
  CHECK(trace == Trace{"in a callback", "callback goes on", "next callback"});
}

TEST_CASE_METHOD(LoopTest, "where the loop does not run an eager task waits for its turn") {
  bool ran = false;
  auto task = create_task(TaskOptions{.eager = true}, [&] { ran = true; });
  CHECK_FALSE(ran);
  run([&] { await(task); });
  CHECK(ran);
}

TEST_CASE_METHOD(LoopTest, "an eager task can be created while an exception is handled, and leaves that as it is") {
  run([] {
    try {
      throw std::runtime_error("outer");
    } catch (const std::runtime_error&) {
      auto task = create_task(TaskOptions{.eager = true}, [] {
        try {
          throw std::runtime_error("inner");
        } catch (const std::runtime_error&) {
          sleep(0s);
          CHECK(describe(std::current_exception()) == "inner");
        }
      });
      CHECK(describe(std::current_exception()) == "outer");
      await(task);
      CHECK(describe(std::current_exception()) == "outer");
    }
  });
}
