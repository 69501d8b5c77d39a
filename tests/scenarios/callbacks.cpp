// Immediate callbacks and their handles: callbacks.py says what is expected.
#include <functional>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

SCENARIO(callbacks_run_in_the_order_in_which_they_were_given) {
  for (const char* name : {"a", "b", "c"}) loop.call_soon(trace, name);
  trace("nothing ran yet");
  run_once(loop);
}

SCENARIO(a_callback_ends_before_the_next_one_begins) {
  loop.call_soon([&] {
    trace("outer begins");
    loop.call_soon(trace, "inner");
    trace("outer ends");
  });
  loop.call_soon(trace, "next");
  run_once(loop);
  trace("next iteration");
  run_once(loop);
}

SCENARIO(an_iteration_runs_exactly_what_was_there_when_it_began) {
  std::function<void(int)> again = [&](int count) {
    trace("run", count);
    loop.call_soon(again, count + 1);
  };
  loop.call_soon(again, 1);
  for (int iteration = 0; iteration < 3; ++iteration) {
    trace("iteration", iteration);
    run_once(loop);
  }
}

SCENARIO(two_chains_of_callbacks_take_turns) {
  std::function<void(std::string, int)> link = [&](const std::string& name, int left) {
    trace(name, left);
    if (left > 0)
      loop.call_soon(link, name, left - 1);
    else if (name == "b")
      loop.stop();
  };
  loop.call_soon(link, "a", 3);
  loop.call_soon(link, "b", 3);
  loop.run_forever();
}

SCENARIO(a_callback_that_schedules_two_gets_them_behind_its_neighbours) {
  std::function<void(std::string, int)> fork = [&](const std::string& name, int depth) {
    trace(name);
    if (depth == 0) return;
    loop.call_soon(fork, name + "1", depth - 1);
    loop.call_soon(fork, name + "2", depth - 1);
  };
  loop.call_soon(fork, "a", 2);
  loop.call_soon(fork, "b", 2);
  for (int i = 0; i < 3; ++i) {
    run_once(loop);
    trace("-");
  }
}

SCENARIO(a_queued_callback_is_cancelled_by_its_predecessor) {
  Handle second;
  loop.call_soon([&] {
    trace("first", second.cancelled());
    second.cancel();
    trace("cancelled", second.cancelled());
    second.cancel();
  });
  second = loop.call_soon(trace, "second");
  loop.call_soon(trace, "third");
  run_once(loop);
  run_once(loop);
}

SCENARIO(a_callback_is_cancelled_before_the_loop_runs) {
  Handle handle = loop.call_soon(trace, "never");
  loop.call_soon(trace, "always");
  handle.cancel();
  handle.cancel();
  run_once(loop);
  trace(handle.cancelled());
}

SCENARIO(a_callback_cancels_its_own_handle_while_it_runs) {
  Handle handle;
  handle = loop.call_soon([&] {
    trace("begins", handle.cancelled());
    handle.cancel();
    trace("ends", handle.cancelled());
  });
  run_once(loop);
  trace("after", handle.cancelled());
}

SCENARIO(a_handle_is_cancelled_after_its_callback_has_run) {
  Handle handle = loop.call_soon(trace, "runs");
  run_once(loop);
  trace("after the run", handle.cancelled());
  handle.cancel();
  trace("after the cancellation", handle.cancelled());
  run_once(loop);
}

SCENARIO(a_callback_cancels_its_successor_and_gives_it_again) {
  Handle second;
  loop.call_soon([&] {
    second.cancel();
    loop.call_soon(trace, "second, again");
  });
  second = loop.call_soon(trace, "second");
  loop.call_soon(trace, "third");
  run_once(loop);
  run_once(loop);
}

SCENARIO(one_function_given_twice_runs_twice) {
  const auto count = [&](int number) { trace("call", number); };
  Handle handle = loop.call_soon(count, 1);
  loop.call_soon(count, 2);
  handle.cancel();
  loop.call_soon(count, 3);
  run_once(loop);
}

SCENARIO(a_callback_that_fails_is_reported_before_the_next_one_runs) {
  loop.call_soon([&] {
    trace("fails");
    loop.call_soon(trace, "given by the one that failed");
    fail();
  });
  loop.call_soon(trace, "next");
  run_once(loop);
  run_once(loop);
}

SCENARIO(callbacks_tasks_and_done_callbacks_share_one_queue) {
  Future<> future;
  const auto task = [&](const std::string& name) {
    trace(name, "begins");
    loop.call_soon(trace, name, "called soon");
    future.add_done_callback([&trace, name](const Future<>&) { trace(name, "heard"); });
  };
  loop.call_soon(trace, "first");
  auto a = create_task(task, "a");
  loop.call_soon([&] { future.set_result(); });
  auto b = create_task(task, "b");
  loop.call_soon(trace, "last");
  for (int i = 0; i < 3; ++i) {
    run_once(loop);
    trace("-", a.done(), b.done());
  }
}
