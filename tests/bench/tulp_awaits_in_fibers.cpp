// What it costs a fiber to wait: tulp_awaits_in_coroutines is the same for coroutines.
#include <tulp/tulp.hpp>

#include "loop_scenarios.hpp"

using namespace loop_bench;

namespace {

[[gnu::noinline]] int number_of(int number) {
  asm volatile("");
  return number;
}

/// A future that is done.
int await_done(int count, Stopwatch& stopwatch) {
  tulp::Future<int> done;
  done.set_result(1);
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) seen += tulp::await(done);
  stopwatch.pause();
  return seen;
}

/// Something to wait for that ends without having waited itself.
int call(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) seen += tulp::await(tulp::create_task({.eager = true}, [] { return number_of(1); }));
  stopwatch.pause();
  return seen;
}

/// Something that lets others run once, and is waited for meanwhile.
int call_and_wait(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) {
    seen += tulp::await(tulp::create_task({.eager = true}, [] {
      tulp::sleep(std::chrono::seconds(0));
      return number_of(1);
    }));
  }
  stopwatch.pause();
  return seen;
}

/// A callback ends the future that is waited for: from the one style to the other.
int callback_hand_over(int count, Stopwatch& stopwatch) {
  tulp::EventLoop& loop = tulp::get_event_loop();
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) {
    tulp::Future<int> future;
    loop.call_soon([&] { future.set_result(1); });
    seen += tulp::await(future);
  }
  stopwatch.pause();
  return seen;
}

int yield(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i, ++seen) tulp::sleep(std::chrono::seconds(0));
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
                      {{"await_done", in_task<await_done>},
                       {"call", in_task<call>},
                       {"call_and_wait", in_task<call_and_wait>},
                       {"callback_hand_over", in_task<callback_hand_over>},
                       {"yield", in_task<yield>}});
}
