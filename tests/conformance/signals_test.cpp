// Signals: PEP 3156 "Signals", rows 39 and 40.
#include <csignal>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
/// A descriptor that signals arrive on is kept for the next loop, for the process's life: the tests' count of descriptors
/// begins when there is one.
struct Warm {
  Warm() {
    const auto loop = new_event_loop();
    loop->add_signal_handler(SIGUSR1, [] {});
  }
};
}  // namespace

TEST_CASE("a signal handler runs as an ordinary callback, and may use all of the loop") {
  const Warm warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  std::vector<int> seen;
  loop.add_signal_handler(SIGUSR1, [&] {
    seen.push_back(SIGUSR1);
    loop.call_soon([&] { loop.stop(); });
  });
  std::raise(SIGUSR1);
  CHECK(seen.empty());
  loop.run_forever();
  CHECK(seen == std::vector{SIGUSR1});
  CHECK(loop.remove_signal_handler(SIGUSR1));
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
}

TEST_CASE("every signal number that has arrived is seen at least once; adding a handler again replaces it") {
  const Warm warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  int first = 0, second = 0, other = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++first; });
  loop.add_signal_handler(
      SIGUSR1, [&](int by) { second += by; }, 1);
  loop.add_signal_handler(SIGUSR2, [&] { ++other; });
  for (int i = 0; i < 100; ++i) {
    std::raise(SIGUSR1);
    std::raise(SIGUSR2);
  }
  loop.add_signal_handler(SIGHUP, [&] { loop.stop(); });
  std::raise(SIGHUP);
  loop.run_forever();
  CHECK(first == 0);
  CHECK(second >= 1);
  CHECK(other >= 1);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGHUP}) loop.remove_signal_handler(signal);
}

TEST_CASE("signals that cannot be are refused: no such number, and those that cannot be caught") {
  const Warm warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  const auto nothing = [] {};
  CHECK_THROWS_AS(loop.add_signal_handler(0, nothing), std::invalid_argument);
  CHECK_THROWS_AS(loop.add_signal_handler(9999, nothing), std::invalid_argument);
  CHECK_THROWS_AS(loop.add_signal_handler(SIGKILL, nothing), InvalidStateError);
  CHECK_THROWS_AS(loop.add_signal_handler(SIGSTOP, nothing), InvalidStateError);
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
  CHECK_FALSE(loop.remove_signal_handler(-1));
}

TEST_CASE("the former disposition of a signal comes back with the last handler, and at close") {
  std::signal(SIGUSR1, SIG_IGN);
  {
    const auto first = new_event_loop();
    const auto second = new_event_loop();
    first->add_signal_handler(SIGUSR1, [] {});
    second->add_signal_handler(SIGUSR1, [] {});
    first->remove_signal_handler(SIGUSR1);
    second->close();
  }
  CHECK(std::signal(SIGUSR1, SIG_DFL) == SIG_IGN);
}

TEST_CASE("loops in two threads that watch one signal both hear of it") {
  const auto wait_for_signal = [](EventLoop& loop) {
    loop.add_signal_handler(SIGUSR1, [&loop] { loop.stop(); });
    loop.run_forever();
    loop.remove_signal_handler(SIGUSR1);
  };
  const auto first = new_event_loop();
  const auto second = new_event_loop();
  std::atomic<int> running_count = 0;
  for (EventLoop* loop : {first.get(), second.get()}) loop->call_soon([&] { ++running_count; });
  std::thread other([&] { wait_for_signal(*second); });
  first->call_soon([&] {
    while (running_count < 2) std::this_thread::yield();
    std::raise(SIGUSR1);
  });
  wait_for_signal(*first);
  other.join();
}
