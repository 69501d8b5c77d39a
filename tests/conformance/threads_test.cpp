// Threads: semantics row 41.
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <atomic>
#include <map>
#include <memory>
#include <thread>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "call_soon_threadsafe wakes a loop that waits, and runs its callback on the loop's thread") {
  std::thread::id ran_on;
  std::thread caller([&] {
    while (!loop().is_running()) std::this_thread::yield();
    loop().call_soon_threadsafe([&] {
      ran_on = std::this_thread::get_id();
      loop().stop();
    });
  });
  loop().run_forever();
  caller.join();
  CHECK(ran_on == std::this_thread::get_id());
}

TEST_CASE_METHOD(LoopTest, "calls from one thread keep their order, also among calls from the loop's own thread") {
  Trace trace;
  for (int i = 0; i < 3; ++i)
    loop().call_soon_threadsafe([&trace, i] { trace.push_back("threadsafe " + std::to_string(i)); });
  CHECK(trace.empty());
  run_once();
  CHECK(trace == Trace{"threadsafe 0", "threadsafe 1", "threadsafe 2"});
}

TEST_CASE_METHOD(LoopTest,
                 "calls of the loop's own thread keep their order whichever of the two functions they go through") {
  Trace trace;
  const auto call = [&] {
    loop().call_soon_threadsafe([&] { trace.push_back("threadsafe"); });
    loop().call_soon([&] { trace.push_back("soon"); });
    loop().call_soon_threadsafe([&] { trace.push_back("threadsafe again"); });
  };
  SECTION("before the loop runs") { call(); }
  SECTION("in a callback") {
    loop().call_soon(call);
    run_once();
    CHECK(trace.empty());
  }
  run_once();
  CHECK(trace == Trace{"threadsafe", "soon", "threadsafe again"});
}

TEST_CASE_METHOD(LoopTest, "what is posted before the loop runs is not lost") {
  bool ran = false;
  std::thread([&] { loop().call_soon_threadsafe([&] { ran = true, loop().stop(); }); }).join();
  loop().run_forever();
  CHECK(ran);
}

TEST_CASE_METHOD(LoopTest, "many threads may call at once: each callback runs exactly once, each thread's in order") {
  constexpr int thread_count = 4, calls_per_thread = 5'000;
  std::vector<int> next(thread_count, 0);
  int total = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < calls_per_thread; ++i) {
        loop().call_soon_threadsafe([&, t, i] {
          if (next[static_cast<std::size_t>(t)]++ != i) FAIL("out of order");
          if (++total == thread_count * calls_per_thread) loop().stop();
        });
      }
    });
  }
  loop().run_forever();
  for (auto& thread : threads) thread.join();
  CHECK(total == thread_count * calls_per_thread);
}

TEST_CASE_METHOD(LoopTest, "a loop that waits again and again never misses a wake-up") {
  // A token goes to and fro: each side sleeps until the other one calls.
  constexpr int rounds = 2'000;
  const auto other = make_loop(kind());
  int here = 0, there = 0;
  std::atomic<bool> is_ready = false;
  std::function<void()> pong, ping;
  ping = [&] {
    if (++here == rounds) {
      other->call_soon_threadsafe([&] { other->stop(); });
      return loop().stop();
    }
    other->call_soon_threadsafe(pong);
  };
  pong = [&] {
    ++there;
    loop().call_soon_threadsafe(ping);
  };
  std::thread thread([&] {
    is_ready = true;
    other->run_forever();
  });
  while (!is_ready) std::this_thread::yield();
  loop().call_soon(ping);
  loop().run_forever();
  thread.join();
  CHECK(here == rounds);
  CHECK(there == rounds - 1);
}

TEST_CASE_METHOD(LoopTest, "a handle from another thread can be copied and dropped there, and cancelled by the loop") {
  auto held = std::make_shared<int>();
  std::optional<Handle> handle;
  std::thread([&] { handle = loop().call_soon_threadsafe([held] { FAIL("was cancelled"); }); }).join();
  handle->cancel();
  CHECK(handle->cancelled());
  CHECK(held.use_count() == 1);
  run_once();
}

TEST_CASE_METHOD(LoopTest,
                 "close() while other threads call lets each call in or refuses it, and loses no callback's memory") {
  auto held = std::make_shared<int>();
  std::atomic<int> refused = 0, running = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, held] {
      ++running;
      for (;;) {
        try {
          loop().call_soon_threadsafe([held] {});
        } catch (const InvalidStateError&) {
          ++refused;
          return;
        }
      }
    });
  }
  while (running < 3) std::this_thread::yield();
  run_once();
  loop().close();
  for (auto& thread : threads) thread.join();
  threads.clear();
  CHECK(refused == 3);
  CHECK(held.use_count() == 1);
}

TEST_CASE_METHOD(LoopTest, "several loops run in several threads at once, each with tasks of its own") {
  std::vector<std::thread> threads;
  std::atomic<int> sum = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&sum, kind = kind()] {
      const auto mine = make_loop(kind);
      set_event_loop(mine.get());
      sum += mine->run_until_complete([] {
        int total = 0;
        std::vector<Task<int>> tasks;
        for (int i = 0; i < 100; ++i) {
          tasks.push_back(create_task([i] {
            let_others_run(2);
            sleep(std::chrono::microseconds(i));
            return i;
          }));
        }
        for (const auto& task : tasks) total += await(task);
        return total;
      });
      mine->close();
      set_event_loop(nullptr);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(sum == 4 * 4950);
}

TEST_CASE_METHOD(LoopTest, "a loop whose thread has ended is closed by another one, and its parked tasks end there") {
  Trace trace;
  std::optional<Task<>> task;
  std::thread([&] {
    set_event_loop(&loop());
    task = create_task([&] {
      struct Cleanup {
        Trace& trace;
        ~Cleanup() { trace.push_back("cleaned up"); }
      } cleanup{trace};
      sleep(1h);
    });
    run_once();
    set_event_loop(nullptr);
  }).join();
  loop().close();
  CHECK(trace == Trace{"cleaned up"});
  CHECK(task->cancelled());
}

TEST_CASE_METHOD(LoopTest, "tasks that were created before may be run by another thread") {
  auto task = create_task([] {
    let_others_run(2);
    return 5;
  });
  int result = 0;
  std::thread([&] { result = loop().run_until_complete(Future<int>(task)); }).join();
  CHECK(result == 5);
}
