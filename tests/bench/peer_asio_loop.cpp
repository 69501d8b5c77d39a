// The scenarios of bench_loop with Boost.Asio, as its own users would write them: one timer object for each timer, made
// beforehand; concrete executors; and no locks in the loop where there is one thread.
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <vector>

#include "loop_scenarios.hpp"

using namespace loop_bench;
namespace asio = boost::asio;

namespace {

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                         asio::io_context::executor_type>;

/// A loop with one timer, far away: without any, it would not have the reactor that every program with I/O has.
class Loop {
 public:
  explicit Loop(int concurrency_hint) : loop_(concurrency_hint), timer_(loop_, far_away) {
    timer_.async_wait([](const boost::system::error_code&) {});
  }
  asio::io_context& get() { return loop_; }
  void run() { loop_.run(); }
  /// Lets run() return when all else has been done.
  void stop() { timer_.cancel(); }

 private:
  asio::io_context loop_;
  Timer timer_;
};

int call_soon(int count, Stopwatch& stopwatch) {
  Loop loop(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  struct Turns {
    Loop& loop;
    int count;
    int called = 0;
    void next() {
      if (called >= count) return loop.stop();
      for (int i = 0; i < calls_per_turn; ++i) asio::post(loop.get(), [this] { ++called; });
      asio::post(loop.get(), [this] { next(); });
    }
  } turns{loop, count};
  stopwatch.start();
  asio::post(loop.get(), [&] { turns.next(); });
  loop.run();
  stopwatch.pause();
  return turns.called;
}

int call_soon_beside_thread(int count, Stopwatch& stopwatch) {
  const IdleThread thread;
  return call_soon(count, stopwatch);
}

int call_soon_in_turn(int count, Stopwatch& stopwatch) {
  Loop loop(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  struct Chain {
    Loop& loop;
    int count;
    int called = 0;
    void next() {
      if (++called == count) return loop.stop();
      asio::post(loop.get(), [this] { next(); });
    }
  } chain{loop, count};
  stopwatch.start();
  asio::post(loop.get(), [&] { chain.next(); });
  loop.run();
  stopwatch.pause();
  return chain.called;
}

std::vector<Timer> make_timers(asio::io_context& loop, int count) {
  std::vector<Timer> timers;
  timers.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) timers.emplace_back(loop);
  return timers;
}

template <class Delay>
int cancel_timers(int count, Stopwatch& stopwatch, Delay delay) {
  asio::io_context loop(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  auto timers = make_timers(loop, count);
  int cancelled = 0;
  stopwatch.start();
  for (Timer& timer : timers) {
    timer.expires_after(delay());
    timer.async_wait([&cancelled](const boost::system::error_code& error) {
      if (error == asio::error::operation_aborted) ++cancelled;
    });
  }
  for (Timer& timer : timers) timer.cancel();
  loop.run();
  stopwatch.pause();
  return cancelled;
}

int cancel_random(int count, Stopwatch& stopwatch) {
  return cancel_timers(count, stopwatch,
                       [shuffler = Shuffler()]() mutable { return far_away + shuffler.below(far_away); });
}
int cancel_equal(int count, Stopwatch& stopwatch) {
  return cancel_timers(count, stopwatch, [] { return usual_timeout; });
}

template <class Delay>
int fire_timers(int count, Stopwatch& stopwatch, Delay delay) {
  asio::io_context loop(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  auto timers = make_timers(loop, count);
  int fired = 0;
  stopwatch.start();
  for (Timer& timer : timers) {
    timer.expires_after(delay());
    timer.async_wait([&fired](const boost::system::error_code& error) {
      if (!error) ++fired;
    });
  }
  stopwatch.pause();
  std::this_thread::sleep_for(spread);
  stopwatch.start();
  loop.run();
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
  Loop loop(1);
  int called = 0;
  stopwatch.start();
  auto posting = post_from(threads, count, [&] {
    asio::post(loop.get(), [&] {
      if (++called == count) loop.stop();
    });
  });
  loop.run();
  stopwatch.pause();
  join(posting);
  return called;
}

int post_to_busy_loop(int count, Stopwatch& stopwatch) {
  Loop loop(1);
  int called = 0;
  stopwatch.start();
  auto posting = post_from(1, count, [&] {
    asio::post(loop.get(), [&] {
      if (++called == count) loop.stop();
    });
  });
  join(posting);
  loop.run();
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
