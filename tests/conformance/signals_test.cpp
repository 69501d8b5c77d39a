// Signals: PEP 3156 "Signals", rows 39 and 40.
#include <csignal>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE("a signal handler runs as an ordinary callback, and may use all of the loop") {
  const WarmSignals warm;
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

TEST_CASE("adding a handler again replaces the former one") {
  const WarmSignals warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  int first = 0, second = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++first; });
  loop.add_signal_handler(
      SIGUSR1,
      [&](int by) {
        second += by;
        loop.stop();
      },
      1);
  std::raise(SIGUSR1);
  loop.run_forever();
  CHECK(first == 0);
  CHECK(second == 1);
  loop.remove_signal_handler(SIGUSR1);
}

TEST_CASE("signals are seen as often as they arrived, in that order") {
  const WarmSignals warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  std::vector<int> seen, raised;
  for (const int signal : {SIGUSR1, SIGUSR2}) loop.add_signal_handler(signal, [&, signal] { seen.push_back(signal); });
  loop.add_signal_handler(SIGHUP, [&] { loop.stop(); });
  for (int i = 0; i < 1000; ++i) raised.push_back(i % 3 == 0 ? SIGUSR2 : SIGUSR1);
  for (const int signal : raised) std::raise(signal);
  std::raise(SIGHUP);
  loop.run_forever();
  CHECK(seen == raised);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGHUP}) loop.remove_signal_handler(signal);
}

TEST_CASE("of more signals than can wait repeats merge, but each number is seen") {
  const WarmSignals warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  constexpr int more_than_a_pipe_holds = 70'000;
  int usr1 = 0, usr2 = 0;
  loop.add_signal_handler(SIGUSR1, [&] { ++usr1; });
  loop.add_signal_handler(SIGUSR2, [&] {
    ++usr2;
    loop.stop();
  });
  for (int i = 0; i < more_than_a_pipe_holds; ++i) std::raise(SIGUSR1);
  for (int i = 0; i < 3; ++i) std::raise(SIGUSR2);
  loop.run_forever();
  CHECK(usr1 > 1000);
  CHECK(usr1 < more_than_a_pipe_holds);
  CHECK(usr2 == 1);
  for (const int signal : {SIGUSR1, SIGUSR2}) loop.remove_signal_handler(signal);
}

TEST_CASE("a handler that is removed does not run, though its signal has arrived, and is destroyed at once") {
  const WarmSignals warm;
  LoopTest test;
  EventLoop& loop = test.loop();
  auto held = std::make_shared<int>();
  bool ran = false, is_destroyed = false;
  loop.add_signal_handler(SIGUSR1, [&] {
    CHECK(loop.remove_signal_handler(SIGUSR2));
    is_destroyed = held.use_count() == 1;
    loop.call_soon([&] { loop.stop(); });
  });
  loop.add_signal_handler(SIGUSR2, [&ran, held] { ran = true; });
  std::raise(SIGUSR1);
  std::raise(SIGUSR2);
  loop.run_forever();
  CHECK(is_destroyed);
  CHECK_FALSE(ran);
  loop.remove_signal_handler(SIGUSR1);
}

TEST_CASE("a signal that one loop has left behind is not heard by the next") {
  {
    const auto former = new_event_loop();
    former->add_signal_handler(SIGUSR1, [] {});
    std::raise(SIGUSR1);
  }
  LoopTest test;
  bool heard = false;
  test.loop().add_signal_handler(SIGUSR1, [&] { heard = true; });
  for (int i = 0; i < 3; ++i) test.run_once();
  CHECK_FALSE(heard);
  test.loop().remove_signal_handler(SIGUSR1);
}

TEST_CASE("signals that cannot be are refused: no such number, and those that cannot be caught") {
  const WarmSignals warm;
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
