// Calls from other threads: threads.py says what is expected.
#include <thread>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

/// Runs `function` in a thread of its own, to its end.
template <class F>
void in_thread(F function) {
  std::thread(function).join();
}

}  // namespace

SCENARIO(calls_from_another_thread_keep_their_order) {
  in_thread([&] {
    for (int number = 0; number < 4; ++number) loop.call_soon_threadsafe(trace, number);
  });
  trace("posted");
  for (int i = 0; i < 2; ++i) run_once(loop);
}

SCENARIO(a_thread_wakes_a_loop_that_sleeps) {
  std::thread thread;
  loop.call_soon([&] {
    thread = std::thread([&] {
      loop.call_soon_threadsafe(trace, "from the thread");
      loop.call_soon_threadsafe([&] { loop.stop(); });
    });
  });
  loop.run_forever();
  thread.join();
  trace("stopped");
}

SCENARIO(a_loops_own_calls_keep_their_order_through_either_door) {
  loop.call_soon([&] {
    loop.call_soon(trace, 1);
    loop.call_soon_threadsafe(trace, 2);
    loop.call_soon(trace, 3);
    loop.call_soon_threadsafe(trace, 4);
  });
  run_once(loop);
  trace("-");
  run_once(loop);
}

SCENARIO(calls_before_the_run_keep_their_order_through_either_door) {
  loop.call_soon_threadsafe(trace, 1);
  loop.call_soon(trace, 2);
  loop.call_soon_threadsafe(trace, 3);
  loop.call_soon(trace, 4);
  run_once(loop);
}

SCENARIO(what_a_thread_posts_during_a_callback_runs_in_the_next_iteration) {
  loop.call_soon([&] {
    in_thread([&] { loop.call_soon_threadsafe(trace, "from the thread"); });
    trace("callback ends");
  });
  loop.call_soon(trace, "neighbour");
  run_once(loop);
  trace("-");
  run_once(loop);
}

SCENARIO(a_call_from_another_thread_is_cancelled) {
  Handle handle;
  in_thread([&] { handle = loop.call_soon_threadsafe(trace, "never"); });
  loop.call_soon_threadsafe(trace, "behind");
  handle.cancel();
  run_once(loop);
  trace(handle.cancelled());
}

SCENARIO(a_future_is_completed_from_another_thread) {
  loop.run_until_complete([&] {
    Future<std::string> future;
    std::thread thread([&] { loop.call_soon_threadsafe([&] { future.set_result("value"); }); });
    trace(await(future));
    thread.join();
  });
}

SCENARIO(a_closed_loop_refuses_other_threads_too) {
  loop.close();
  in_thread([&] { trace(outcome([&] { return loop.call_soon_threadsafe(trace, "never"); })); });
}

SCENARIO(debug_mode_refuses_a_call_from_a_foreign_thread) {
  loop.set_debug(true);
  bool ran = false;
  loop.call_soon([&] {
    in_thread([&] {
      trace("call_soon:", outcome([&] { return loop.call_soon(trace, "never"); }));
      trace("call_later:", outcome([&] { return loop.call_later(0s, trace, "never"); }));
      loop.call_soon_threadsafe(trace, "call_soon_threadsafe");
    });
  });
  loop.call_soon([&] { ran = true; });
  run_until(loop, [&] { return ran; });
  run_once(loop);
}
