// The scenarios of bench_loop with libuv, as its own users would write them: the timers in one array, initialised
// beforehand.  libuv has no call_soon and posts no functions, so its users write a queue: here std::function in a vector,
// emptied by an idle handle, or under a mutex by an async handle.
#include <uv.h>

#include <functional>
#include <mutex>
#include <vector>

#include "loop_scenarios.hpp"

using namespace loop_bench;

namespace {

class Loop {
 public:
  Loop() { ::uv_loop_init(&loop_); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    ::uv_walk(
        &loop_, [](uv_handle_t* handle, void*) { ::uv_close(handle, nullptr); }, nullptr);
    run();
    ::uv_loop_close(&loop_);
  }
  void run() { ::uv_run(&loop_, UV_RUN_DEFAULT); }
  uv_loop_t* get() { return &loop_; }

 private:
  uv_loop_t loop_;
};

using Calls = std::vector<std::function<void()>>;

/// call_soon(), which libuv leaves to its users.
class CallQueue {
 public:
  explicit CallQueue(Loop& loop) {
    ::uv_idle_init(loop.get(), &idle_);
    idle_.data = this;
  }
  void call_soon(std::function<void()> call) {
    if (queued_.empty()) ::uv_idle_start(&idle_, [](uv_idle_t* idle) { static_cast<CallQueue*>(idle->data)->run(); });
    queued_.push_back(std::move(call));
  }

 private:
  void run() {
    running_.swap(queued_);
    for (auto& call : running_) call();
    running_.clear();
    if (queued_.empty()) ::uv_idle_stop(&idle_);
  }
  uv_idle_t idle_;
  Calls queued_;
  Calls running_;
};

int call_soon(int count, Stopwatch& stopwatch) {
  Loop loop;
  CallQueue queue(loop);
  struct Turns {
    CallQueue& queue;
    int count;
    int called = 0;
    void next() {
      if (called >= count) return;
      for (int i = 0; i < calls_per_turn; ++i) queue.call_soon([this] { ++called; });
      queue.call_soon([this] { next(); });
    }
  } turns{queue, count};
  stopwatch.start();
  queue.call_soon([&] { turns.next(); });
  loop.run();
  stopwatch.pause();
  return turns.called;
}

int call_soon_beside_thread(int count, Stopwatch& stopwatch) {
  const IdleThread thread;
  return call_soon(count, stopwatch);
}

int call_soon_in_turn(int count, Stopwatch& stopwatch) {
  Loop loop;
  CallQueue queue(loop);
  struct Chain {
    CallQueue& queue;
    int count;
    int called = 0;
    void next() {
      if (++called == count) return;
      queue.call_soon([this] { next(); });
    }
  } chain{queue, count};
  stopwatch.start();
  queue.call_soon([&] { chain.next(); });
  loop.run();
  stopwatch.pause();
  return chain.called;
}

std::vector<uv_timer_t> make_timers(Loop& loop, int count) {
  std::vector<uv_timer_t> timers(static_cast<std::size_t>(count));
  for (uv_timer_t& timer : timers) ::uv_timer_init(loop.get(), &timer);
  return timers;
}

template <class Duration>
std::uint64_t milliseconds(Duration duration) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

template <class Delay>
int cancel_timers(int count, Stopwatch& stopwatch, Delay delay) {
  std::vector<uv_timer_t> timers;  // outlives the loop, which closes them
  Loop loop;
  timers = make_timers(loop, count);
  int cancelled = 0;
  stopwatch.start();
  for (uv_timer_t& timer : timers)
    ::uv_timer_start(
        &timer, [](uv_timer_t*) {}, delay(), 0);
  for (uv_timer_t& timer : timers) {
    ::uv_timer_stop(&timer);
    cancelled += ::uv_is_active(reinterpret_cast<uv_handle_t*>(&timer)) == 0 ? 1 : 0;
  }
  loop.run();
  stopwatch.pause();
  return cancelled;
}

int cancel_random(int count, Stopwatch& stopwatch) {
  return cancel_timers(count, stopwatch,
                       [shuffler = Shuffler()]() mutable { return milliseconds(far_away + shuffler.below(far_away)); });
}
int cancel_equal(int count, Stopwatch& stopwatch) {
  return cancel_timers(count, stopwatch, [] { return milliseconds(usual_timeout); });
}

template <class Delay>
int fire_timers(int count, Stopwatch& stopwatch, Delay delay) {
  std::vector<uv_timer_t> timers;
  Loop loop;
  timers = make_timers(loop, count);
  int fired = 0;
  loop.get()->data = &fired;
  stopwatch.start();
  for (uv_timer_t& timer : timers)
    ::uv_timer_start(
        &timer, [](uv_timer_t* due) { ++*static_cast<int*>(due->loop->data); }, delay(), 0);
  stopwatch.pause();
  std::this_thread::sleep_for(spread);
  stopwatch.start();
  loop.run();
  stopwatch.pause();
  return fired;
}

int fire_random(int count, Stopwatch& stopwatch) {
  return fire_timers(count, stopwatch,
                     [shuffler = Shuffler()]() mutable { return milliseconds(shuffler.below(spread)); });
}
int fire_equal(int count, Stopwatch& stopwatch) {
  return fire_timers(count, stopwatch, [] { return milliseconds(spread); });
}

/// Functions from other threads.
class Inbox {
 public:
  explicit Inbox(Loop& loop) {
    ::uv_async_init(loop.get(), &wake_up_, [](uv_async_t* async) { static_cast<Inbox*>(async->data)->run(); });
    wake_up_.data = this;
  }
  void post(std::function<void()> call) {
    {
      const std::lock_guard lock(mutex_);
      posted_.push_back(std::move(call));
    }
    ::uv_async_send(&wake_up_);
  }

 private:
  void run() {
    {
      const std::lock_guard lock(mutex_);
      running_.swap(posted_);
    }
    for (auto& call : running_) call();
    running_.clear();
  }
  uv_async_t wake_up_;
  std::mutex mutex_;
  Calls posted_;
  Calls running_;
};

struct Counter {
  Loop& loop;
  int count;
  int called = 0;
  void call() {
    if (++called == count) ::uv_stop(loop.get());
  }
};

template <int threads>
int post(int count, Stopwatch& stopwatch) {
  Loop loop;
  Inbox inbox(loop);
  Counter counter{loop, count};
  stopwatch.start();
  auto posting = post_from(threads, count, [&] { inbox.post([&counter] { counter.call(); }); });
  loop.run();
  stopwatch.pause();
  join(posting);
  return counter.called;
}

int post_to_busy_loop(int count, Stopwatch& stopwatch) {
  Loop loop;
  Inbox inbox(loop);
  Counter counter{loop, count};
  stopwatch.start();
  auto posting = post_from(1, count, [&] { inbox.post([&counter] { counter.call(); }); });
  join(posting);
  loop.run();
  stopwatch.pause();
  return counter.called;
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
