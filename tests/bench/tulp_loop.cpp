// The scenarios of bench_loop with tulp, in plain callbacks: no task, no fiber.
#include <tulp/event_loop.hpp>

#include <memory>
#include <vector>

#include "loop_scenarios.hpp"

using namespace loop_bench;

namespace {

int call_soon(int count, Stopwatch& stopwatch) {
  const auto loop = tulp::new_event_loop();
  struct Turns {
    tulp::EventLoop& loop;
    int count;
    int called = 0;
    void next() {
      if (called >= count) return loop.stop();
      for (int i = 0; i < calls_per_turn; ++i) loop.call_soon([this] { ++called; });
      loop.call_soon([this] { next(); });
    }
  } turns{*loop, count};
  stopwatch.start();
  loop->call_soon([&] { turns.next(); });
  loop->run_forever();
  stopwatch.pause();
  return turns.called;
}

int call_soon_beside_thread(int count, Stopwatch& stopwatch) {
  const IdleThread thread;
  return call_soon(count, stopwatch);
}

int call_soon_in_turn(int count, Stopwatch& stopwatch) {
  const auto loop = tulp::new_event_loop();
  struct Chain {
    tulp::EventLoop& loop;
    int count;
    int called = 0;
    void next() {
      if (++called == count) return loop.stop();
      loop.call_soon([this] { next(); });
    }
  } chain{*loop, count};
  stopwatch.start();
  loop->call_soon([&] { chain.next(); });
  loop->run_forever();
  stopwatch.pause();
  return chain.called;
}

template <class Delay>
int cancel_timers(int count, Stopwatch& stopwatch, Delay delay) {
  const auto loop = tulp::new_event_loop();
  std::vector<tulp::TimerHandle> timers;
  timers.reserve(static_cast<std::size_t>(count));
  int fired = 0;
  int cancelled = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) timers.push_back(loop->call_later(delay(), [&fired] { ++fired; }));
  for (auto& timer : timers) {
    timer.cancel();
    cancelled += timer.cancelled() ? 1 : 0;
  }
  timers.clear();
  loop->stop();
  loop->run_forever();  // the loop's own tidying counts too
  stopwatch.pause();
  return cancelled - fired;
}

int cancel_random(int count, Stopwatch& stopwatch) {
  return cancel_timers(count, stopwatch,
                       [shuffler = Shuffler()]() mutable { return far_away + shuffler.below(far_away); });
}
int cancel_equal(int count, Stopwatch& stopwatch) {
  return cancel_timers(count, stopwatch, [] { return usual_timeout; });
}

/// All are due when the loop first looks.
template <class Delay>
int fire_timers(int count, Stopwatch& stopwatch, Delay delay) {
  const auto loop = tulp::new_event_loop();
  int fired = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) {
    loop->call_later(delay(), [&fired, &loop, count] {
      if (++fired == count) loop->stop();
    });
  }
  stopwatch.pause();
  std::this_thread::sleep_for(spread);
  stopwatch.start();
  loop->run_forever();
  stopwatch.pause();
  return fired;
}

int fire_random(int count, Stopwatch& stopwatch) {
  return fire_timers(count, stopwatch, [shuffler = Shuffler()]() mutable { return shuffler.below(spread); });
}
int fire_equal(int count, Stopwatch& stopwatch) {
  return fire_timers(count, stopwatch, [] { return spread; });
}

template <int threads>
int post(int count, Stopwatch& stopwatch) {
  const auto loop = tulp::new_event_loop();
  int called = 0;
  stopwatch.start();
  auto posting = post_from(threads, count, [&] {
    loop->call_soon_threadsafe([&] {
      if (++called == count) loop->stop();
    });
  });
  loop->run_forever();
  stopwatch.pause();
  join(posting);
  return called;
}

/// The loop comes to run when everything has been posted already.
int post_to_busy_loop(int count, Stopwatch& stopwatch) {
  const auto loop = tulp::new_event_loop();
  int called = 0;
  stopwatch.start();
  auto posting = post_from(1, count, [&] {
    loop->call_soon_threadsafe([&] {
      if (++called == count) loop->stop();
    });
  });
  join(posting);
  loop->run_forever();
  stopwatch.pause();
  return called;
}

}  // namespace

int main(int argc, char** argv) {
  return run_scenario(argc, argv,
                      {{"call_soon", call_soon},
                       {"call_soon_beside_thread", call_soon_beside_thread},
                       {"call_soon_in_turn", call_soon_in_turn},
                       {"timers_cancelled", cancel_random},
                       {"timeouts_cancelled", cancel_equal},
                       {"timers_fired", fire_random},
                       {"timeouts_fired", fire_equal},
                       {"posts_1_thread", post<1>},
                       {"posts_4_threads", post<4>},
                       {"posts_to_busy_loop", post_to_busy_loop}});
}
