// Volumes of callbacks.
#include <tulp/event_loop.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE_METHOD(LoopTest, "eight threads with a hundred thousand calls each lose none, and keep each thread's order") {
  constexpr std::size_t thread_count = 8, per_thread = 100'000;
  std::vector<std::size_t> next(thread_count, 0);
  std::size_t total = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < per_thread; ++i) {
        loop().call_soon_threadsafe([&, t, i] {
          if (next[t]++ != i) FAIL("thread " << t << ": out of order at " << i);
          if (++total == thread_count * per_thread) loop().stop();
        });
      }
    });
  }
  loop().run_forever();
  for (auto& thread : threads) thread.join();
  CHECK(total == thread_count * per_thread);
}

TEST_CASE_METHOD(LoopTest, "a hundred thousand times to and fro between two threads, no wake-up is missed") {
  constexpr int rounds = 100'000;
  const auto other = make_loop(kind());
  int here = 0;
  std::atomic<bool> is_ready = false;
  std::function<void()> ping, pong;
  ping = [&] {
    if (++here < rounds) return static_cast<void>(other->call_soon_threadsafe(pong));
    other->call_soon_threadsafe([&] { other->stop(); });
    loop().stop();
  };
  pong = [&] { loop().call_soon_threadsafe(ping); };
  std::thread thread([&] {
    is_ready = true;
    other->run_forever();
  });
  while (!is_ready) std::this_thread::yield();
  loop().call_soon(ping);
  loop().run_forever();
  thread.join();
  CHECK(here == rounds);
}

TEST_CASE_METHOD(LoopTest, "a million timers come in the order of their time") {
  constexpr int count = 1'000'000;
  const TimePoint start = loop().time();
  int came = 0;
  TimePoint last = start;
  bool is_in_order = true;
  std::uint32_t random = 1;
  for (int i = 0; i < count; ++i) {
    random = random * 1664525 + 1013904223;
    const TimePoint due = start + std::chrono::microseconds(random >> 14);
    loop().call_at(due, [&, due] {
      is_in_order = is_in_order && due >= last;
      last = due;
      if (++came == count) loop().stop();
    });
  }
  loop().run_forever();
  CHECK(is_in_order);
}
