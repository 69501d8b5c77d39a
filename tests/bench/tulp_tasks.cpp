// The scenarios of tasks with tulp: what it costs that they wait for each other.
#include <tulp/tulp.hpp>

#include <mutex>

#include "loop_scenarios.hpp"

using namespace loop_bench;

namespace {

int create_and_await(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) tulp::await(tulp::create_task([&] { ++seen; }));
  stopwatch.pause();
  return seen;
}

/// Two tasks that let each other run.
int switch_in_turn(int count, Stopwatch& stopwatch) {
  int seen = 0;
  const auto work = [&] {
    for (int i = 0; i < count / 2; ++i) {
      ++seen;
      tulp::sleep(std::chrono::seconds(0));
    }
  };
  stopwatch.start();
  auto other = tulp::create_task(work);
  work();
  tulp::await(other);
  stopwatch.pause();
  return seen;
}

/// Two tasks; each leaves the other one time to come and wait for the lock that it has.
int lock_hand_over(int count, Stopwatch& stopwatch) {
  tulp::Lock lock;
  int seen = 0;
  const auto work = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const std::lock_guard guard(lock);
      ++seen;
      tulp::sleep(std::chrono::seconds(0));
    }
  };
  stopwatch.start();
  auto other = tulp::create_task(work, count / 2);
  work(count / 2);
  tulp::await(other);
  stopwatch.pause();
  return seen;
}

int queue_ping_pong(int count, Stopwatch& stopwatch) {
  tulp::Queue<int> there(1), back(1);
  int seen = 0;
  stopwatch.start();
  auto other = tulp::create_task([&] {
    for (int i = 0; i < count / 2; ++i) back.put(there.get());
  });
  for (int i = 0; i < count / 2; ++i) {
    there.put(i);
    if (back.get() == i) seen += 2;
  }
  tulp::await(other);
  stopwatch.pause();
  return seen;
}

/// Two tasks put, each into a queue of its own; one takes from whichever has something.
int select(int count, Stopwatch& stopwatch) {
  tulp::Queue<int> queues[2] = {tulp::Queue<int>(1), tulp::Queue<int>(1)};
  int seen = 0;
  const auto put = [&](int which) {
    for (int i = 0; i < count / 2; ++i) queues[which].put(i);
  };
  stopwatch.start();
  auto first = tulp::create_task(put, 0);
  auto second = tulp::create_task(put, 1);
  const auto take = [&](int) { ++seen; };
  while (seen < count) tulp::select(tulp::on_get(queues[0], take), tulp::on_get(queues[1], take));
  tulp::await(tulp::gather(first, second));
  stopwatch.pause();
  return seen;
}

template <int (*body)(int, Stopwatch&)>
int in_task(int count, Stopwatch& stopwatch) {
  return tulp::run([&] { return body(count, stopwatch); });
}

}  // namespace

int main(int argc, char** argv) {
  return run_scenario(argc, argv,
                      {{"switch", in_task<switch_in_turn>},
                       {"create_and_await", in_task<create_and_await>},
                       {"lock_hand_over", in_task<lock_hand_over>},
                       {"queue_ping_pong", in_task<queue_ping_pong>},
                       {"select", in_task<select>}});
}
