// Queue, PriorityQueue and LifoQueue: modern row 18.
#include <tulp/error.hpp>
#include <tulp/queue.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/cancel_points.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Tasks that get one item each, begun and thus waiting in this order.
template <class Q>
std::vector<Task<int>> getters(Q& queue, int count) {
  std::vector<Task<int>> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back(create_task([&queue] { return queue.get(); }));
  let_others_run();
  return tasks;
}

/// Tasks that put one of `items` each, begun and thus waiting in this order.
template <class Q>
std::vector<Task<>> putters(Q& queue, const std::vector<int>& items) {
  std::vector<Task<>> tasks;
  for (const int item : items) tasks.push_back(create_task([&queue, item] { queue.put(item); }));
  let_others_run();
  return tasks;
}

template <class Q>
std::vector<int> drain(Q& queue) {
  std::vector<int> items;
  while (!queue.empty()) items.push_back(queue.get_nowait());
  return items;
}

/// An int that can only be moved, and that refuses to be moved while the flag is set.
struct Stubborn {
  explicit Stubborn(int number) : value(number) {}
  Stubborn(Stubborn&& other) : value(other.value) {
    if (refuses) throw std::bad_alloc();
    other.value = 0;
  }
  Stubborn& operator=(Stubborn&&) = delete;
  int value;
  static inline bool refuses = false;
};

}  // namespace

// The order of items.

TEST_CASE_METHOD(LoopTest, "a queue gives its items in the order in which they were put") {
  Queue<int> queue;
  for (const int item : {3, 1, 2}) queue.put_nowait(item);
  CHECK(queue.qsize() == 3);
  CHECK(drain(queue) == std::vector{3, 1, 2});
}

TEST_CASE_METHOD(LoopTest, "a priority queue gives the lowest item first, or whichever its order says") {
  PriorityQueue<int> queue;
  PriorityQueue<int, std::greater<>> downward;
  for (const int item : {3, 1, 4, 1, 5, 9, 2, 6}) {
    queue.put_nowait(item);
    downward.put_nowait(item);
  }
  CHECK(drain(queue) == std::vector{1, 1, 2, 3, 4, 5, 6, 9});
  CHECK(drain(downward) == std::vector{9, 6, 5, 4, 3, 2, 1, 1});
}

TEST_CASE_METHOD(LoopTest, "a LIFO queue gives the item first that was put last") {
  LifoQueue<int> queue;
  for (const int item : {3, 1, 2}) queue.put_nowait(item);
  CHECK(drain(queue) == std::vector{2, 1, 3});
}

TEST_CASE_METHOD(LoopTest, "items that wait for room come into a queue of each kind in their turn") {
  run([&] {
    const auto fill = [](auto& queue) {
      queue.put_nowait(2);
      queue.put_nowait(1);
      auto tasks = putters(queue, {3, 0});
      const std::vector<int> items = drain(queue);
      for (auto& task : tasks) await(task);
      return items;
    };
    Queue<int> queue(2);
    LifoQueue<int> lifo(2);
    PriorityQueue<int> priority(2);
    CHECK(fill(queue) == std::vector{2, 1, 3, 0});
    CHECK(fill(lifo) == std::vector{1, 3, 0, 2});
    CHECK(fill(priority) == std::vector{1, 2, 0, 3});
  });
}

// Waiting.

TEST_CASE_METHOD(LoopTest, "neither put() with room nor get() with items parks") {
  run([&] {
    Queue<std::string> queue(1);
    bool others_ran = false;
    loop().call_soon([&] { others_ran = true; });
    queue.put("item");
    CHECK(queue.full());
    CHECK(queue.get() == "item");
    CHECK(queue.empty());
    CHECK_FALSE(others_ran);
    sleep(0s);
  });
}

TEST_CASE_METHOD(LoopTest, "get() waits for an item; who has waited longest gets the first") {
  run([&] {
    Queue<int> queue;
    auto tasks = getters(queue, 3);
    for (const int item : {1, 2, 3}) queue.put(item);
    CHECK(await(tasks[0]) == 1);
    CHECK(await(tasks[1]) == 2);
    CHECK(await(tasks[2]) == 3);
  });
}

TEST_CASE_METHOD(LoopTest, "an item that was put while somebody waits is his: nobody overtakes") {
  run([&] {
    Queue<int> queue(1);
    auto tasks = getters(queue, 1);
    queue.put_nowait(1);
    CHECK(queue.empty());
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
    queue.put_nowait(2);
    CHECK(queue.full());
    CHECK(await(tasks[0]) == 1);
    CHECK(queue.get() == 2);
  });
}

TEST_CASE_METHOD(LoopTest, "put() waits for room; who has waited longest puts first, and nobody overtakes") {
  run([&] {
    Queue<int> queue(1);
    queue.put(0);
    auto tasks = putters(queue, {1, 2});
    CHECK_FALSE(tasks[0].done());
    CHECK(queue.get_nowait() == 0);
    CHECK(queue.full());
    CHECK_THROWS_AS(queue.put_nowait(9), QueueFull);
    CHECK(queue.get() == 1);
    CHECK(queue.get() == 2);
    CHECK(queue.empty());
    for (auto& task : tasks) await(task);
  });
}

TEST_CASE_METHOD(LoopTest, "a queue of one hands a thousand items over in order, whichever side is faster") {
  run([&] {
    Queue<int> queue(1);
    auto producer = create_task([&] {
      for (int i = 0; i < 1000; ++i) {
        queue.put(i);
        if (i < 500) sleep(0s);
      }
    });
    for (int i = 0; i < 1000; ++i) {
      CHECK(queue.get() == i);
      if (i >= 500) sleep(0s);
    }
    await(producer);
  });
}

TEST_CASE_METHOD(LoopTest, "a queue without a limit is never full, and a queue tells its limit") {
  Queue<int> queue;
  for (int i = 0; i < 10'000; ++i) queue.put_nowait(i);
  CHECK_FALSE(queue.full());
  CHECK(queue.maxsize() == 0);
  CHECK(Queue<int>(7).maxsize() == 7);
}

TEST_CASE_METHOD(LoopTest, "callbacks put and get with the calls that do not wait") {
  run([&] {
    Queue<int> queue;
    loop().call_soon([&] { queue.put_nowait(1); });
    CHECK(queue.get() == 1);
    CHECK_THROWS_AS(queue.get_nowait(), QueueEmpty);
  });
}

TEST_CASE_METHOD(LoopTest, "outside a task put(), get() and join() are InvalidStateErrors that leave the queue") {
  Queue<int> queue;
  CHECK_THROWS_AS(queue.put(1), InvalidStateError);
  CHECK(queue.empty());
  queue.put_nowait(1);
  CHECK_THROWS_AS(queue.get(), InvalidStateError);
  CHECK_THROWS_AS(queue.join(), InvalidStateError);
  CHECK(queue.qsize() == 1);
}

TEST_CASE_METHOD(LoopTest, "an item that can only be moved is moved, and stays with a caller whose put() is refused") {
  run([&] {
    Queue<std::unique_ptr<int>> queue(1);
    queue.put(std::make_unique<int>(1));
    auto item = std::make_unique<int>(2);
    CHECK_THROWS_AS(queue.put_nowait(std::move(item)), QueueFull);
    CHECK_THROWS_AS(with_timeout(10ms, [&] { queue.put(std::move(item)); }), TimeoutError);
    REQUIRE(item);
    CHECK(*queue.get() == 1);
    queue.put(std::move(item));
    CHECK_FALSE(item);
    queue.shutdown();
    item = std::make_unique<int>(3);
    CHECK_THROWS_AS(queue.put(std::move(item)), QueueShutDown);
    CHECK(item);
    CHECK(*queue.get_nowait() == 2);
  });
}

// Cancellation.

TEST_CASE_METHOD(LoopTest, "a getter that is cancelled leaves the line; one that has its item returns it") {
  run([&] {
    Queue<int> queue;
    auto tasks = getters(queue, 3);
    tasks[0].cancel();
    queue.put_nowait(1);  // to the second
    tasks[1].cancel();
    queue.put_nowait(2);
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    CHECK(await(tasks[1]) == 1);
    CHECK(await(tasks[2]) == 2);
  });
}

TEST_CASE_METHOD(LoopTest, "a putter that is cancelled has put nothing; one whose item was taken up has put it") {
  run([&] {
    Queue<int> queue(1);
    queue.put(0);
    auto tasks = putters(queue, {1, 2, 3});
    tasks[0].cancel();
    CHECK(queue.get() == 0);
    tasks[1].cancel();
    CHECK_THROWS_AS(await(tasks[0]), FutureCancelledError);
    await(tasks[1]);
    CHECK(queue.get() == 2);
    CHECK(queue.get() == 3);
    CHECK(queue.empty());
    await(tasks[2]);
  });
}

TEST_CASE_METHOD(LoopTest, "wherever a producer or a consumer is cancelled, what was put is got, once") {
  run([&] {
    std::optional<Queue<int>> queue;
    std::vector<int> put;
    std::vector<int> got;
    const auto start = [&] {
      queue.emplace(1);
      put.clear();
      got.clear();
      std::vector<Task<>> tasks;
      for (int producer = 0; producer < 2; ++producer) {
        tasks.push_back(create_task([&, producer] {
          for (int i = 0; i < 4; ++i) {
            queue->put(10 * producer + i);
            put.push_back(10 * producer + i);
            let_others_run(i % 2);
          }
        }));
      }
      for (int consumer = 0; consumer < 2; ++consumer) {
        tasks.push_back(create_task([&] {
          try {
            for (;;) {
              got.push_back(queue->get());
              let_others_run(1);
            }
          } catch (const QueueShutDown&) {
          }
        }));
      }
      // When the producers have ended, the consumers end too.
      create_task([&, one = tasks[0], other = tasks[1]] {
        while (!one.done() || !other.done()) sleep(0s);
        queue->shutdown();
      });
      return tasks;
    };
    cancel_at_each_point(14, start, [&](const std::vector<Task<>>&, std::size_t) {
      std::sort(put.begin(), put.end());
      std::sort(got.begin(), got.end());
      CHECK(put == got);
    });
  });
}

// join() and task_done().

TEST_CASE_METHOD(LoopTest, "join() waits until every item that was put is done, and not at all if that is so") {
  run([&] {
    Queue<int> queue;
    queue.join();
    queue.put(1);
    queue.put(2);
    auto joining = create_task([&] { queue.join(); });
    auto also_joining = create_task([&] { queue.join(); });
    CHECK(drain(queue) == std::vector{1, 2});
    queue.task_done();
    let_others_run(2);
    CHECK_FALSE(joining.done());
    queue.task_done();
    await(joining);
    await(also_joining);
    queue.join();
  });
}

TEST_CASE_METHOD(LoopTest, "join() counts items that never lay in the queue, and those that waited for room") {
  run([&] {
    Queue<int> queue(1);
    auto getting = getters(queue, 1);
    queue.put(1);
    auto putting = putters(queue, {2, 3});
    auto joining = create_task([&] { queue.join(); });
    CHECK(await(getting[0]) == 1);
    CHECK(queue.get() == 2);
    CHECK(queue.get() == 3);
    for (auto& task : putting) await(task);
    queue.task_done();
    queue.task_done();
    let_others_run(2);
    CHECK_FALSE(joining.done());
    queue.task_done();
    await(joining);
  });
}

TEST_CASE_METHOD(LoopTest, "task_done() is an error when it is called more often than items were put") {
  Queue<int> queue;
  CHECK_THROWS_AS(queue.task_done(), std::invalid_argument);
  queue.put_nowait(1);
  queue.task_done();
  CHECK_THROWS_AS(queue.task_done(), std::invalid_argument);
}

TEST_CASE_METHOD(LoopTest, "a join() that is cancelled leaves the others waiting") {
  run([&] {
    Queue<int> queue;
    queue.put(1);
    auto one = create_task([&] { queue.join(); });
    auto other = create_task([&] { queue.join(); });
    let_others_run();
    one.cancel();
    CHECK_THROWS_AS(await(one), FutureCancelledError);
    CHECK_FALSE(other.done());
    queue.task_done();
    await(other);
  });
}

// shutdown().

TEST_CASE_METHOD(LoopTest, "a queue that was shut down takes nothing, and gives what is left before it refuses") {
  run([&] {
    Queue<int> queue;
    queue.put(1);
    queue.put(2);
    queue.shutdown();
    queue.shutdown();
    CHECK_THROWS_AS(queue.put(3), QueueShutDown);
    CHECK_THROWS_AS(queue.put_nowait(3), QueueShutDown);
    CHECK(queue.get() == 1);
    CHECK(queue.get_nowait() == 2);
    CHECK_THROWS_AS(queue.get(), QueueShutDown);
    CHECK_THROWS_AS(queue.get_nowait(), QueueShutDown);
  });
}

TEST_CASE_METHOD(LoopTest, "shutdown() refuses those who wait, unless they have their item") {
  run([&] {
    Queue<int> empty;
    auto getting = getters(empty, 2);
    empty.put_nowait(1);
    empty.shutdown();
    CHECK(await(getting[0]) == 1);
    CHECK_THROWS_AS(await(getting[1]), QueueShutDown);

    Queue<int> full(1);
    full.put(1);
    auto putting = putters(full, {2, 3});
    CHECK(full.get() == 1);
    full.shutdown();
    await(putting[0]);
    CHECK_THROWS_AS(await(putting[1]), QueueShutDown);
    CHECK(drain(full) == std::vector{2});
  });
}

TEST_CASE_METHOD(LoopTest, "an immediate shutdown drops what is left, and counts it as done") {
  run([&] {
    Queue<std::shared_ptr<int>> queue;
    auto item = std::make_shared<int>(1);
    queue.put(item);
    queue.put(item);
    auto joining = create_task([&] { queue.join(); });
    let_others_run();
    SECTION("nothing was got before") {
      queue.shutdown({.immediate = true});
      await(joining);
    }
    SECTION("what was got before has to be done") {
      queue.get();
      queue.shutdown({.immediate = true});
      let_others_run(2);
      CHECK_FALSE(joining.done());
      queue.task_done();
      await(joining);
    }
    SECTION("more was said to be done than was got") {
      queue.task_done();
      queue.shutdown({.immediate = true});
      await(joining);
      CHECK_THROWS_AS(queue.task_done(), std::invalid_argument);
    }
    CHECK(queue.empty());
    CHECK(item.use_count() == 1);
    CHECK_THROWS_AS(queue.get(), QueueShutDown);
  });
}

// Items that cannot be moved.

TEST_CASE_METHOD(LoopTest, "an item that cannot be moved to who waits stays with who puts, and the other waits on") {
  run([&] {
    Queue<Stubborn> queue;
    auto getting = create_task([&] { return queue.get().value; });
    let_others_run();
    Stubborn item(1);
    Stubborn::refuses = true;
    CHECK_THROWS_AS(queue.put(std::move(item)), std::bad_alloc);
    Stubborn::refuses = false;
    CHECK(item.value == 1);
    let_others_run(2);
    CHECK_FALSE(getting.done());
    queue.put(std::move(item));
    CHECK(await(getting) == 1);
  });
}

TEST_CASE_METHOD(LoopTest, "an item that cannot be stored is the trouble of who puts it, not of who makes room") {
  run([&] {
    struct FailsOnce {
      explicit FailsOnce(int number, bool is_bad = false) : value(number), fails(is_bad) {}
      FailsOnce(FailsOnce&& other) noexcept(false) : value(other.value) {
        if (std::exchange(other.fails, false)) throw std::bad_alloc();
      }
      int value;
      bool fails = false;
    };
    Queue<FailsOnce> queue(1);
    queue.put(FailsOnce(1));
    auto bad = create_task([&] { queue.put(FailsOnce(2, true)); });
    auto good = create_task([&] { queue.put(FailsOnce(3)); });
    let_others_run();
    CHECK(queue.get().value == 1);
    CHECK_THROWS_AS(await(bad), std::bad_alloc);
    await(good);
    CHECK(queue.get().value == 3);
  });
}
