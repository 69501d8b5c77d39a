// Executors, and futures that cross threads: semantics rows 42, 43 and 50.
#include <tulp/executor.hpp>
#include <tulp/run.hpp>
#include <tulp/wait.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/sys.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// A pool of one thread, which is busy until release().
class BusyPool {
 public:
  BusyPool() {
    pool->submit([this] { gate_.acquire(); });
  }
  ~BusyPool() { release(); }
  void release() {
    if (!std::exchange(is_released_, true)) gate_.release();
  }
  std::shared_ptr<ThreadPoolExecutor> pool = std::make_shared<ThreadPoolExecutor>(ThreadPoolOptions{.max_workers = 1});

 private:
  std::binary_semaphore gate_{0};
  bool is_released_ = false;
};

}  // namespace

// run_in_executor.

TEST_CASE_METHOD(LoopTest, "run_in_executor calls in another thread, and its future has the result") {
  const auto here = std::this_thread::get_id();
  auto future = loop().run_in_executor(nullptr, [] { return std::this_thread::get_id(); });
  CHECK_FALSE(future.done());
  CHECK(loop().run_until_complete(future) != here);
  CHECK(loop().run_until_complete(loop().run_in_executor(
            nullptr, [](int a, std::unique_ptr<int> b) { return a + *b; }, 3, std::make_unique<int>(4))) == 7);
  CHECK(*loop().run_until_complete(loop().run_in_executor(nullptr, [] { return std::make_unique<int>(5); })) == 5);
  loop().run_until_complete(loop().run_in_executor(nullptr, [] {}));
}

TEST_CASE_METHOD(LoopTest, "an exception in the thread comes out of the future") {
  CHECK_THROWS_AS(loop().run_until_complete(loop().run_in_executor(nullptr, [] { throw Boom(); })), Boom);
}

TEST_CASE_METHOD(LoopTest, "what a call holds is destroyed before its future is done") {
  auto held = std::make_shared<int>();
  auto future = loop().run_in_executor(nullptr, [held] {});
  loop().run_until_complete(future);
  CHECK(held.use_count() == 1);
}

TEST_CASE_METHOD(LoopTest, "cancelling withdraws a call that has not begun") {
  BusyPool busy;
  auto held = std::make_shared<int>();
  bool ran = false;
  auto future = loop().run_in_executor(busy.pool.get(), [&ran, held] { ran = true; });
  CHECK(future.cancel("not wanted"));
  CHECK(future.cancelled());
  CHECK(held.use_count() == 1);
  busy.release();
  busy.pool->shutdown();
  CHECK_FALSE(ran);
  run_once();
}

TEST_CASE_METHOD(LoopTest, "cancelling the future of a call that runs ends the future at once, and the call goes on") {
  std::binary_semaphore has_begun(0), may_end(0);
  std::atomic<bool> has_ended = false;
  auto future = loop().run_in_executor(nullptr, [&] {
    has_begun.release();
    may_end.acquire();
    has_ended = true;
  });
  has_begun.acquire();
  CHECK(future.cancel());
  CHECK(future.cancelled());
  CHECK_FALSE(has_ended);
  may_end.release();
  loop().close();  // waits for it
  CHECK(has_ended);
}

TEST_CASE_METHOD(LoopTest, "a call that fails after its future was cancelled is reported") {
  std::binary_semaphore has_begun(0), may_end(0);
  auto future = loop().run_in_executor(nullptr, [&] {
    has_begun.release();
    may_end.acquire();
    throw Boom();
  });
  has_begun.acquire();
  future.cancel();
  may_end.release();
  loop().close();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK_THAT(reports[0].message, Catch::Contains("after its future was cancelled"));
  CHECK(describe(reports[0].exception) == "boom");
}

TEST_CASE_METHOD(LoopTest, "a program's own executor is used for what is given to none in particular") {
  struct Inline final : Executor {
    int count = 0;
    void execute(Work work) override {
      ++count;
      work();
    }
  };
  auto mine = std::make_shared<Inline>();
  loop().set_default_executor(mine);
  CHECK(loop().run_until_complete(loop().run_in_executor(nullptr, [] { return 1; })) == 1);
  CHECK(run([] { return to_thread([] { return 2; }); }) == 2);
  CHECK(mine->count == 2);
  CHECK_THROWS_AS(loop().set_default_executor(nullptr), std::invalid_argument);
}

TEST_CASE_METHOD(LoopTest, "after shutdown_default_executor() it takes nothing more, and what runs in it has ended") {
  std::binary_semaphore may_end(0);
  std::atomic<bool> has_ended = false;
  auto future = loop().run_in_executor(nullptr, [&] {
    may_end.acquire();
    has_ended = true;
  });
  auto drained = loop().shutdown_default_executor();
  CHECK_THROWS_AS(loop().run_in_executor(nullptr, [] {}), InvalidStateError);
  CHECK_THROWS_AS(loop().set_default_executor(std::make_shared<ThreadPoolExecutor>()), InvalidStateError);
  run_once();
  CHECK_FALSE(drained.done());
  may_end.release();
  loop().run_until_complete(drained);
  CHECK(has_ended);
  loop().run_until_complete(future);
  CHECK(loop().shutdown_default_executor().done());
}

TEST_CASE_METHOD(LoopTest, "a call that is given to an executor that was shut down is refused") {
  ThreadPoolExecutor pool;
  pool.shutdown();
  CHECK_THROWS_AS(loop().run_in_executor(&pool, [] {}), InvalidStateError);
  CHECK_THROWS_AS(pool.submit([] {}), InvalidStateError);
  run_once();
  CHECK_FALSE(loop().is_expecting_post());
}

TEST_CASE("a thread that does not end holds up the end of run() no longer than its limit, and is named") {
  const CapturedStderr captured;
  std::binary_semaphore may_end(0);
  std::atomic<bool> has_ended = false;
  run(
      [&] {
        get_event_loop().run_in_executor(nullptr, [&] {
          may_end.acquire();
          has_ended = true;
        });
      },
      {.drain = 10ms});
  CHECK_FALSE(has_ended);
  may_end.release();
  while (!has_ended) std::this_thread::yield();
  CHECK_THAT(captured.text(), Catch::Contains("1 call in a thread has not ended"));
}

// to_thread.

TEST_CASE_METHOD(LoopTest, "to_thread parks its task alone, and uses what the caller has in place") {
  run([&] {
    bool others_run = false;
    std::binary_semaphore may_end(0);
    const auto other = create_task([&] {
      others_run = true;
      may_end.release();
    });
    std::string text = "caller's";
    const int length = to_thread(
        [&](const std::string& by_reference) {
          may_end.acquire();
          text += " locals";
          return static_cast<int>(&by_reference == &text);
        },
        text);
    CHECK(others_run);
    CHECK(length == 1);
    CHECK(text == "caller's locals");
    CHECK(*to_thread([](std::unique_ptr<int> moved) { return moved; }, std::make_unique<int>(3)) == 3);
    CHECK_THROWS_AS(to_thread([] { throw Boom(); }), Boom);
    await(other);
  });
}

TEST_CASE_METHOD(LoopTest, "to_thread outside a task is refused") {
  CHECK_THROWS_AS(to_thread([] {}), InvalidStateError);
}

TEST_CASE_METHOD(LoopTest, "a cancelled to_thread whose call has not begun withdraws it at once") {
  BusyPool busy;
  loop().set_default_executor(busy.pool);
  bool ran = false;
  run([&] {
    auto task = create_task([&] { to_thread([&ran] { ran = true; }); });
    let_others_run();
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    busy.release();
  });
  loop().run_until_complete(loop().shutdown_default_executor());
  CHECK_FALSE(ran);
}

TEST_CASE_METHOD(
    LoopTest,
    "a cancelled to_thread whose call runs waits for it, returns its result, and is cancelled at the next park") {
  std::binary_semaphore has_begun(0), may_end(0);
  Trace trace;
  run([&] {
    auto task = create_task([&] {
      trace.push_back(to_thread([&]() -> std::string {
        has_begun.release();
        may_end.acquire();
        return "result";
      }));
      sleep(0s);
      trace.push_back("not reached");
    });
    let_others_run();
    has_begun.acquire();
    task.cancel();
    let_others_run(3);
    CHECK_FALSE(task.done());
    may_end.release();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
  });
  CHECK(trace == Trace{"result"});
}

TEST_CASE_METHOD(LoopTest, "a call that takes a stop_token learns of the cancellation") {
  std::binary_semaphore has_begun(0);
  run([&] {
    auto task = create_task([&] {
      return to_thread([&](std::stop_token stop) {
        has_begun.release();
        while (!stop.stop_requested()) std::this_thread::yield();
        return 5;
      });
    });
    let_others_run();
    has_begun.acquire();
    task.cancel();
    CHECK(await(task) == 5);  // it had its result; nothing parked after that
  });
}

// ThreadPoolExecutor.

TEST_CASE("a thread pool makes threads as they are needed, up to its limit") {
  ThreadPoolExecutor pool({.max_workers = 2});
  CHECK(pool.thread_count() == 0);
  pool.submit([] {}).get();
  CHECK(pool.thread_count() == 1);
  std::latch together(2);
  auto a = pool.submit([&] { together.arrive_and_wait(); });
  auto b = pool.submit([&] { together.arrive_and_wait(); });
  auto c = pool.submit([] {});
  a.get(), b.get(), c.get();
  CHECK(pool.thread_count() == 2);
}

TEST_CASE("shutdown() runs what is queued, or ends it as cancelled") {
  const bool drops = GENERATE(false, true);
  BusyPool busy;
  auto queued = busy.pool->submit([] { return 1; });
  busy.pool->shutdown({.wait = false, .cancel_futures = drops});
  busy.release();
  if (drops)
    CHECK_THROWS_AS(queued.get(), FutureCancelledError);
  else
    CHECK(queued.get() == 1);
  busy.pool->shutdown();
}

TEST_CASE("a ConcurrentFuture cancels a call that has not begun, and cannot cancel one that has ended") {
  BusyPool busy;
  auto queued = busy.pool->submit([] { return 1; });
  CHECK(queued.cancel());
  CHECK_FALSE(queued.cancel());
  CHECK_THROWS_AS(queued.get(), FutureCancelledError);
  busy.release();
  auto ended = busy.pool->submit([] { return 1; });
  ended.wait();
  CHECK_FALSE(ended.cancel());
  CHECK(ended.get() == 1);
}

// run_threadsafe.

TEST_CASE_METHOD(LoopTest, "run_threadsafe runs a task on the loop, and another thread gets its result") {
  std::thread thread([&] {
    auto future = run_threadsafe(loop(), [] {
      sleep(0s);
      return std::this_thread::get_id();
    });
    const auto ran_on = future.get();
    loop().call_soon_threadsafe([&, ran_on] {
      CHECK(ran_on == std::this_thread::get_id());
      loop().stop();
    });
  });
  loop().run_forever();
  thread.join();
}

TEST_CASE_METHOD(LoopTest, "what the task throws is thrown by get(), and counts as retrieved") {
  std::thread thread([&] {
    std::future<void> future = run_threadsafe(loop(), [] { throw Boom(); });
    bool has_thrown = false;
    try {
      future.get();
    } catch (const Boom&) {
      has_thrown = true;
    }
    loop().call_soon_threadsafe([&, has_thrown] {
      CHECK(has_thrown);
      loop().stop();
    });
  });
  loop().run_forever();
  thread.join();
}

TEST_CASE_METHOD(LoopTest, "cancelling from the other thread cancels the task") {
  std::thread thread([&] {
    std::binary_semaphore has_begun(0);
    auto future = run_threadsafe(loop(), [&] {
      has_begun.release();
      sleep(10h);
    });
    has_begun.acquire();
    const bool was_asked = future.cancel("enough");
    std::string why;
    try {
      future.get();
    } catch (const FutureCancelledError& error) {
      why = error.what();
    }
    const bool is_too_late = !future.cancel();
    loop().call_soon_threadsafe([&, was_asked, why, is_too_late] {
      CHECK(was_asked);
      CHECK(why == "the future was cancelled: enough");
      CHECK(is_too_late);
      loop().stop();
    });
  });
  loop().expect_post();  // a manual clock must not jump to the end of the sleep
  loop().run_forever();
  loop().end_expected_post();
  thread.join();
}

TEST_CASE_METHOD(LoopTest, "a loop that closes before or while it runs the call tells the other thread") {
  auto before = run_threadsafe(loop(), [] { return 1; });
  CHECK(before.wait_for(0s) == std::future_status::timeout);
  loop().close();
  CHECK_THROWS_AS(before.get(), FutureCancelledError);
  CHECK_FALSE(before.cancel());
  CHECK_THROWS_AS(run_threadsafe(loop(), [] {}), InvalidStateError);
}

TEST_CASE_METHOD(LoopTest, "a task that is cancelled by the end of its loop ends the other thread's future") {
  auto future = run_threadsafe(loop(), [] { sleep(10h); });
  loop().call_soon([&] { loop().stop(); });
  loop().run_forever();
  loop().close();
  CHECK_THROWS_AS(future.get(), FutureCancelledError);
}

// wrap_future.

TEST_CASE_METHOD(LoopTest, "wrap_future makes a loop's future of a std::future, however that is fulfilled") {
  run([] {
    std::promise<int> promise;
    auto wrapped = wrap_future(promise.get_future());
    std::thread thread([&] { promise.set_value(5); });
    CHECK(await(wrapped) == 5);
    thread.join();
    CHECK(await(wrap_future(std::async(std::launch::deferred, [] { return 6; }))) == 6);
    std::promise<void> broken;
    auto future = broken.get_future();
    broken.set_exception(std::make_exception_ptr(Boom()));
    CHECK_THROWS_AS(await(wrap_future(std::move(future))), Boom);
    CHECK_THROWS_AS(wrap_future(std::future<int>()), InvalidStateError);
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a wrapped future that never comes can be cancelled, and does not hold up the end of the loop") {
  std::promise<int> never;
  run([&] {
    auto wrapped = wrap_future(never.get_future());
    CHECK(wrapped.cancel());
    CHECK_THROWS_AS(await(wrapped), FutureCancelledError);
  });
  loop().close();
  never.set_value(1);
}

TEST_CASE_METHOD(LoopTest, "two loops in two threads: one awaits a task of the other, and cancels it") {
  const auto other = make_loop(LoopKind::epoll);
  std::thread thread([&] { other->run_forever(); });
  run([&] {
    CHECK(await(wrap_future(run_threadsafe(*other, [] { return 5; }))) == 5);
    std::binary_semaphore has_begun(0);
    std::promise<bool> was_cancelled;
    auto wrapped = wrap_future(run_threadsafe(*other, [&] {
      has_begun.release();
      try {
        sleep(10h);
      } catch (const CancelledError&) {
        was_cancelled.set_value(true);
        throw;
      }
    }));
    has_begun.acquire();
    wrapped.cancel();
    CHECK(was_cancelled.get_future().get());
  });
  other->call_soon_threadsafe([&] { other->stop(); });
  thread.join();
  other->close();
}
