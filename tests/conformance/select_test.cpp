// select: what Go's statement does for channels, for queues, futures and a timer.
#include <tulp/select.hpp>
#include <tulp/wait.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/cancel_points.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

const auto fail_if_called = [](auto&&...) { FAIL("this alternative has not taken place"); };

}  // namespace

TEST_CASE_METHOD(InVirtualTime<>, "select takes what is there at once, the first in order, and only that") {
  run([] {
    Queue<int> empty, first, second;
    first.put(1);
    second.put(2);
    int got = 0;
    const auto take = [&](int item) { got = item; };
    CHECK(select(on_get(empty, fail_if_called), on_get(first, take), on_get(second, fail_if_called)) == 1);
    CHECK(got == 1);
    CHECK(second.qsize() == 1);
    CHECK(first.empty());
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "select waits for the first that becomes possible, and leaves the other queues") {
  run([&] {
    Queue<int> numbers;
    Queue<std::string> texts;
    loop().call_later(1ms, [&] {
      texts.put_nowait("text");
      numbers.put_nowait(1);
    });
    std::string got;
    CHECK(select(on_get(numbers, fail_if_called), on_get(texts, [&](std::string text) { got = std::move(text); })) ==
          1);
    CHECK(got == "text");
    CHECK(numbers.qsize() == 1);
    texts.put("next");  // nobody waits there any more
    CHECK(texts.qsize() == 1);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "one queue may be in several alternatives, and items that can only be moved are moved") {
  run([&] {
    Queue<std::unique_ptr<int>> queue;
    loop().call_soon([&] { queue.put_nowait(std::make_unique<int>(5)); });
    int got = 0;
    const auto take = [&](std::unique_ptr<int> item) { got = *item; };
    CHECK(select(on_get(queue, take), on_get(queue, fail_if_called)) == 0);
    CHECK(got == 5);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "select puts when there is room, and leaves an item that was not put as it was") {
  run([&] {
    Queue<std::string> full(1), open(1);
    full.put("in the way");
    std::string item = "item";
    int put_count = 0;
    CHECK(select(on_put(full, item, fail_if_called), on_timeout(1ms, [] {})) == 1);
    CHECK(item == "item");
    CHECK(select(on_put(full, item, fail_if_called), on_put(open, item, [&] { ++put_count; })) == 1);
    CHECK(open.get() == "item");
    loop().call_later(1ms, [&] { CHECK(full.get_nowait() == "in the way"); });
    CHECK(select(on_put(full, std::string("late"), [&] { ++put_count; }), on_timeout(1h, fail_if_called)) == 0);
    CHECK(full.get() == "late");
    CHECK(put_count == 2);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "select hears of futures and tasks, whatever their end, and cancels none") {
  run([] {
    Future<> never;
    auto failing = create_task([]() -> int { sleep(1ms), throw std::runtime_error("boom"); });
    std::string what;
    CHECK(select(on_done(never, fail_if_called),
                 on_done(failing, [&](Task<int> task) { what = describe(task.exception()); })) == 1);
    CHECK(what == "boom");
    CHECK_FALSE(never.done());
    CHECK(select(on_done(never, fail_if_called), on_done(failing, [](const Task<int>&) {})) == 1);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "a time limit takes place when nothing else has, and one of zero at once") {
  run([&] {
    Queue<int> queue;
    const TimePoint start = loop().time();
    CHECK(select(on_get(queue, fail_if_called), on_timeout(2ms, [] {})) == 1);
    CHECK(loop().time() >= start + 2ms);
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    CHECK(select(on_get(queue, fail_if_called), on_timeout(0s, [] {})) == 1);
    CHECK_FALSE(others_ran);
    queue.put(1);
    CHECK(select(on_get(queue, [](int) {}), on_timeout(Duration::max(), fail_if_called)) == 0);
    sleep(1us);  // a manual clock would jump to whatever timer is left
    CHECK(loop().time() < start + 30min);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "alternatives that become possible together: one takes place, and the others keep what they have") {
  run([&] {
    Queue<int> first, second;
    Future<> future;
    auto selecting = create_task([&] {
      return select(on_timeout(1ms, [] {}), on_done(future, [](const Future<>&) {}), on_get(first, [](int) {}),
                    on_get(second, [](int) {}));
    });
    let_others_run();
    loop().call_later(1ms, [&] {
      future.set_result();
      first.put_nowait(1);
      second.put_nowait(2);
    });
    let_pass(3ms);
    const std::size_t chosen = await(selecting);
    CHECK(first.qsize() + second.qsize() == (chosen >= 2 ? 1 : 2));
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "an alternative whose queue is shut down throws QueueShutDown, at once or while it waits") {
  run([&] {
    Queue<int> queue(1), other;
    loop().call_soon([&] { queue.shutdown(); });
    CHECK_THROWS_AS(select(on_get(other, fail_if_called), on_get(queue, fail_if_called)), QueueShutDown);
    CHECK_THROWS_AS(select(on_get(queue, fail_if_called)), QueueShutDown);
    int item = 1;
    CHECK_THROWS_AS(select(on_put(queue, item, fail_if_called)), QueueShutDown);
    Queue<int> full(1);
    full.put(1);
    loop().call_soon([&] { full.shutdown(); });
    CHECK_THROWS_AS(select(on_put(full, item, fail_if_called)), QueueShutDown);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "what the chosen function throws comes out of select") {
  run([] {
    Queue<int> queue;
    queue.put(1);
    CHECK_THROWS_AS(select(on_get(queue, [](int) { throw std::runtime_error("boom"); })), std::runtime_error);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "a select that is cancelled at any point has taken nothing, or exactly one item and keeps it") {
  run([&] {
    std::unique_ptr<Queue<int>> a, b;
    int taken_count = 0;
    const auto start = [&] {
      a = std::make_unique<Queue<int>>();
      b = std::make_unique<Queue<int>>();
      taken_count = 0;
      std::vector<Task<>> tasks;
      const auto take = [&](int) { ++taken_count; };
      tasks.push_back(
          create_task([&, take] { select(on_get(*a, take), on_get(*b, take), on_timeout(1h, fail_if_called)); }));
      tasks.push_back(create_task([&] {
        sleep(0s);
        a->put(1);
        sleep(0s);
        b->put(2);
      }));
      // So that who selects ends, whatever becomes of the other.
      loop().call_later(1ms, [&, one = a.get()] {
        if (one == a.get()) a->put_nowait(3);
      });
      return tasks;
    };
    const auto check = [&](const std::vector<Task<>>& tasks, std::size_t victim) {
      CHECK(taken_count == (tasks[0].cancelled() ? 0 : 1));
      if (victim == 0 && tasks[0].cancelled()) CHECK(a->qsize() + b->qsize() >= 1);
    };
    cancel_at_each_point(4, start, check);
    sleep(2ms);
  });
}

TEST_CASE_METHOD(InVirtualTime<>, "who selects in vain for ever lets others run") {
  run([&] {
    Queue<int> queue;
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    for (int i = 0; i < 1000 && !others_ran; ++i) select(on_get(queue, fail_if_called), on_timeout(0s, [] {}));
    CHECK(others_ran);
  });
}

TEST_CASE_METHOD(InVirtualTime<>,
                 "select outside a task throws InvalidStateError, and so does one for another loop's future") {
  Future<> future;
  CHECK_THROWS_AS(select(on_done(future, fail_if_called)), InvalidStateError);
  const auto other = new_event_loop();
  Future<> foreign(*other);
  run([&] {
    Queue<int> queue;
    CHECK_THROWS_AS(select(on_get(queue, fail_if_called), on_done(foreign, fail_if_called)), InvalidStateError);
    queue.put(1);
    CHECK(queue.qsize() == 1);
  });
}
