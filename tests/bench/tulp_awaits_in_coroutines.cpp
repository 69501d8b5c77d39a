// What it costs a coroutine to wait: tulp_awaits_in_fibers is the same for fibers, and says what is measured.
#include <tulp/tulp.hpp>

#include "loop_scenarios.hpp"

using namespace loop_bench;

namespace {

tulp::Future<int> number_of(int number) { co_return number; }

tulp::Future<int> number_later(int number) {
  co_await tulp::yield();
  co_return number;
}

tulp::Future<int> await_done(int count, Stopwatch& stopwatch) {
  tulp::Future<int> done;
  done.set_result(1);
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) seen += co_await done;
  stopwatch.pause();
  co_return seen;
}

tulp::Future<int> call(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) seen += co_await number_of(1);
  stopwatch.pause();
  co_return seen;
}

tulp::Future<int> call_and_wait(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) seen += co_await number_later(1);
  stopwatch.pause();
  co_return seen;
}

tulp::Future<int> callback_hand_over(int count, Stopwatch& stopwatch) {
  tulp::EventLoop& loop = tulp::get_event_loop();
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i) {
    tulp::Future<int> future;
    loop.call_soon([&] { future.set_result(1); });
    seen += co_await future;
  }
  stopwatch.pause();
  co_return seen;
}

tulp::Future<int> yield(int count, Stopwatch& stopwatch) {
  int seen = 0;
  stopwatch.start();
  for (int i = 0; i < count; ++i, ++seen) co_await tulp::yield();
  stopwatch.pause();
  co_return seen;
}

template <tulp::Future<int> (*body)(int, Stopwatch&)>
int in_coroutine(int count, Stopwatch& stopwatch) {
  return tulp::run([&] { return body(count, stopwatch); });
}

}  // namespace

int main(int argc, char** argv) {
  return run_scenario(argc, argv,
                      {{"await_done", in_coroutine<await_done>},
                       {"call", in_coroutine<call>},
                       {"call_and_wait", in_coroutine<call_and_wait>},
                       {"callback_hand_over", in_coroutine<callback_hand_over>},
                       {"yield", in_coroutine<yield>}});
}
