// The scenarios of tasks with Boost.Fiber.  It has no select: two queues under one mutex and condition stand for it, which
// is what its users write.
#include <boost/fiber/all.hpp>

#include <deque>
#include <mutex>

#include "loop_scenarios.hpp"

using namespace loop_bench;
namespace fibers = boost::fibers;

namespace {

int create_and_await(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) fibers::fiber(fibers::launch::post, [&] { ++seen; }).join();
  stopwatch.pause();
  return seen;
}

int switch_in_turn(int count, Stopwatch& stopwatch) {
  int seen = 0;
  const auto work = [&] {
    for (int i = 0; i < count / 2; ++i) {
      ++seen;
      boost::this_fiber::yield();
    }
  };
  stopwatch.start();
  fibers::fiber other(fibers::launch::post, work);
  work();
  other.join();
  stopwatch.pause();
  return seen;
}

int lock_hand_over(int count, Stopwatch& stopwatch) {
  fibers::mutex mutex;
  int seen = 0;
  const auto work = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const std::lock_guard<fibers::mutex> guard(mutex);
      ++seen;
      boost::this_fiber::yield();
    }
  };
  stopwatch.start();
  fibers::fiber other(fibers::launch::post, work, count / 2);
  work(count / 2);
  other.join();
  stopwatch.pause();
  return seen;
}

int queue_ping_pong(int count, Stopwatch& stopwatch) {
  fibers::buffered_channel<int> there(2), back(2);  // the least that it takes: room for one
  int seen = 0;
  stopwatch.start();
  fibers::fiber other(fibers::launch::post, [&] {
    for (int i = 0; i < count / 2; ++i) back.push(there.value_pop());
  });
  for (int i = 0; i < count / 2; ++i) {
    there.push(i);
    if (back.value_pop() == i) seen += 2;
  }
  other.join();
  stopwatch.pause();
  return seen;
}

int select(int count, Stopwatch& stopwatch) {
  fibers::mutex mutex;
  fibers::condition_variable changed;
  std::deque<int> queues[2];
  int seen = 0;
  const auto put = [&](int which) {
    for (int i = 0; i < count / 2; ++i) {
      std::unique_lock<fibers::mutex> lock(mutex);
      changed.wait(lock, [&] { return queues[which].empty(); });
      queues[which].push_back(i);
      changed.notify_all();
    }
  };
  stopwatch.start();
  fibers::fiber first(fibers::launch::post, put, 0);
  fibers::fiber second(fibers::launch::post, put, 1);
  while (seen < count) {
    std::unique_lock<fibers::mutex> lock(mutex);
    changed.wait(lock, [&] { return !queues[0].empty() || !queues[1].empty(); });
    queues[queues[0].empty() ? 1 : 0].pop_front();
    ++seen;
    changed.notify_all();
  }
  first.join();
  second.join();
  stopwatch.pause();
  return seen;
}

}  // namespace

int main(int argc, char** argv) {
  return run_scenario(argc, argv,
                      {{"switch", switch_in_turn},
                       {"create_and_await", create_and_await},
                       {"lock_hand_over", lock_hand_over},
                       {"queue_ping_pong", queue_ping_pong},
                       {"select", select}});
}
