// Running, stopping and closing a loop; run(): running.py says what is expected.
#include <tulp/run.hpp>

#include <csignal>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

SCENARIO(stop_before_the_run_means_one_iteration) {
  loop.call_soon([&] { loop.call_soon(trace, "second iteration"); });
  loop.call_soon(trace, "first iteration");
  loop.stop();
  loop.run_forever();
  trace("stopped");
  loop.stop();
  loop.run_forever();
}

SCENARIO(stop_lets_the_iteration_finish) {
  loop.call_soon([&] {
    loop.stop();
    trace("stopping", loop.is_running());
    loop.call_soon(trace, "next run");
  });
  loop.call_soon(trace, "same iteration");
  loop.run_forever();
  trace("stopped", loop.is_running());
  run_once(loop);
}

SCENARIO(two_stops_are_one) {
  loop.call_soon([&] { loop.stop(); });
  loop.call_soon([&] { loop.stop(); });
  loop.call_soon([&] { loop.call_soon(trace, "second run"); });
  loop.run_forever();
  trace("stopped");
  loop.call_soon([&] { loop.stop(); });
  loop.run_forever();
}

SCENARIO(a_due_timer_waits_for_the_run_after_the_stop) {
  loop.call_soon([&] {
    loop.call_at(loop.time() - 1s, trace, "timer");
    loop.stop();
  });
  loop.run_forever();
  trace("stopped");
  run_once(loop);
}

SCENARIO(stop_in_a_task_lets_the_others_of_the_iteration_run) {
  create_task([&] {
    loop.stop();
    trace("stopping");
    sleep(0s);
    trace("second run");
  });
  create_task([&] {
    trace("other");
    sleep(0s);
    trace("other, second run");
  });
  loop.run_forever();
  trace("stopped");
  run_once(loop);
}

SCENARIO(run_until_complete_gives_what_the_future_holds) {
  Future<int> future;
  loop.call_soon([&] { future.set_result(7); });
  trace(loop.run_until_complete(future));
  trace("done already:", loop.run_until_complete(future));
  Future<> failed;
  loop.call_soon([&] { failed.set_exception(Oops("oops")); });
  trace(outcome([&] { loop.run_until_complete(failed); }));
  trace("a task:", loop.run_until_complete([] { return 8; }));
}

SCENARIO(what_is_queued_when_run_until_complete_ends_survives) {
  trace(loop.run_until_complete([&] {
    trace("main");
    loop.call_soon(trace, "in the iteration of the end");
    loop.call_soon([&] { loop.call_soon(trace, "after the end"); });
    return "result";
  }));
  trace("-");
  run_once(loop);
}

SCENARIO(run_until_complete_that_is_stopped_throws_and_may_be_called_again) {
  Future<std::string> future;
  loop.call_soon([&] { loop.stop(); });
  trace(outcome([&] { return loop.run_until_complete(future); }), future.done());
  loop.call_soon([&] { future.set_result("result"); });
  trace(loop.run_until_complete(future));
}

SCENARIO(a_future_that_is_done_after_a_stop_does_not_stop_the_next_run) {
  Future<> future;
  loop.call_soon([&] { loop.stop(); });
  trace(outcome([&] { loop.run_until_complete(future); }));
  loop.call_soon([&] {
    future.set_result();
    loop.call_soon([&] {
      loop.call_soon([&] {
        trace("goes on");
        loop.stop();
      });
    });
  });
  loop.run_forever();
}

SCENARIO(a_task_goes_on_where_the_last_run_left_it) {
  auto task = create_task([&] {
    for (int number = 0; number < 3; ++number) {
      trace("counter", number);
      sleep(0s);
    }
  });
  loop.run_until_complete([&] { trace("first"); });
  trace("-");
  loop.run_until_complete([&] { trace("second"); });
  trace("-");
  loop.run_until_complete(Future<>(task));
}

SCENARIO(a_stop_by_the_result_lets_the_iteration_finish) {
  Future<int> future;
  future.add_done_callback([&](const Future<int>&) { trace("before"); });
  loop.call_soon([&] {
    future.set_result(5);
    future.add_done_callback([&](const Future<int>&) { trace("behind"); });
    loop.call_soon(trace, "soon");
  });
  trace(loop.run_until_complete(future));
}

SCENARIO(a_loop_does_not_run_within_itself) {
  Future<> future;
  loop.call_soon([&] {
    trace("run_until_complete:", outcome([&] { loop.run_until_complete(future); }));
    trace("run_forever:", outcome([&] { loop.run_forever(); }));
    loop.stop();
  });
  loop.call_soon(trace, "next");
  loop.run_forever();
  trace(loop.is_running());
}

SCENARIO(a_loop_does_not_run_within_another) {
  const auto other = new_event_loop();
  other->call_soon(trace, "never");
  loop.call_soon([&] { trace("run_forever:", outcome([&] { other->run_forever(); }), other->is_running()); });
  loop.call_soon(trace, "next");
  run_once(loop);
}

SCENARIO(a_future_of_another_loop_is_refused) {
  const auto other = new_event_loop();
  Future<> future(*other);
  try {
    loop.run_until_complete(future);
  } catch (const InvalidStateError&) {
    trace("refused", loop.is_running());
  }
}

SCENARIO(a_loop_says_whether_it_runs_and_whether_it_is_closed) {
  const auto state = [&] { trace("running", loop.is_running(), "closed", loop.is_closed()); };
  state();
  loop.call_soon(state);
  run_once(loop);
  state();
  loop.close();
  state();
}

SCENARIO(close_is_refused_while_the_loop_runs) {
  loop.call_soon([&] { trace(outcome([&] { loop.close(); })); });
  loop.call_soon(trace, "next");
  run_once(loop);
  trace(loop.is_closed());
}

SCENARIO(close_drops_what_is_queued) {
  loop.call_soon(trace, "never");
  loop.call_at(loop.time() - 1s, trace, "never");
  loop.close();
  loop.close();
  trace("closed", loop.is_closed());
}

SCENARIO(a_closed_loop_refuses_everything) {
  loop.close();
  trace("call_soon:", outcome([&] { return loop.call_soon(trace); }));
  trace("call_soon_threadsafe:", outcome([&] { return loop.call_soon_threadsafe(trace); }));
  trace("call_later:", outcome([&] { return loop.call_later(1s, trace); }));
  trace("call_at:", outcome([&] { return loop.call_at(TimePoint(), trace); }));
  trace("run_forever:", outcome([&] { loop.run_forever(); }));
}

SCENARIO(close_with_a_task_that_waits) {
  auto task = create_task([&] {
    trace("waits");
    try {
      sleep(1h);
    } catch (const CancelledError&) {
      trace("cleans up", name_of(std::current_exception()));
      throw;
    }
  });
  run_once(loop);
  trace("closing");
  loop.close();
  trace("closed", task.done());
}

SCENARIO(the_running_loop_is_the_one_that_one_gets) {
  const auto other = new_event_loop();
  set_event_loop(other.get());
  loop.call_soon([&] { trace(&get_event_loop() == &loop); });
  run_once(loop);
  trace(&get_event_loop() == other.get());
  set_event_loop(&loop);
}

// run(): a loop from its beginning to its end.

SCENARIO(run_gives_the_result_of_main_or_throws_what_it_threw) {
  trace(run([] { return 7; }));
  trace(outcome([] { run([] { fail(); }); }));
}

SCENARIO(run_within_a_running_loop_is_refused) {
  loop.call_soon([&] { trace(outcome([&] { run([&] { trace("never"); }); })); });
  run_once(loop);
}

SCENARIO(run_cancels_the_task_that_is_left_and_lets_it_clean_up) {
  const auto left = [&] {
    try {
      sleep(1h);
    } catch (const CancelledError&) {
      trace("cancelled");
      sleep(0s);
      trace("cleaned up");
      throw;
    }
  };
  trace(run([&] {
    auto task = create_task(left);
    sleep(0s);
    task.add_done_callback([&](const Future<>&) { trace("heard of its end"); });
    trace("main ends");
    return "result";
  }));
}

SCENARIO(run_lets_a_task_begin_that_main_made_at_its_end) {
  const auto left = [&] {
    trace("begins");
    sleep(0s);
    trace("never");
  };
  run([&] {
    create_task(left).add_done_callback([&](const Future<>& task) { trace("ended", task.cancelled()); });
    trace("main ends");
  });
  trace("after");
}

SCENARIO(run_lets_left_tasks_end_though_main_failed) {
  const auto left = [&] {
    try {
      sleep(1h);
    } catch (const CancelledError&) {
      trace("cleaned up");
      throw;
    }
  };
  trace(outcome([&] {
    run([&] {
      create_task(left);
      sleep(0s);
      fail();
    });
  }));
}

SCENARIO(run_reports_a_left_task_that_fails_while_it_is_cancelled) {
  const auto left = [] {
    try {
      sleep(1h);
    } catch (const CancelledError&) {
      fail("on the way out");
    }
  };
  run([&] {
    get_event_loop().set_exception_handler(
        [&](EventLoop&, const ExceptionContext& context) { trace("reported", name_of(context.exception)); });
    create_task(left);
    sleep(0s);
  });
  trace("after");
}

SCENARIO(ctrl_c_cancels_main_and_run_throws_keyboard_interrupt) {
  try {
    run([&] {
      try {
        ::raise(SIGINT);
        trace("raised");
        sleep(1h);
      } catch (const CancelledError&) {
        trace("cancelled");
        throw;
      }
    });
  } catch (const KeyboardInterrupt&) {
    trace("KeyboardInterrupt");
  }
}

SCENARIO(main_may_answer_ctrl_c_with_a_value) {
  trace(run([&] {
    try {
      ::raise(SIGINT);
      sleep(1h);
    } catch (const CancelledError&) {
      trace("cancelled");
    }
    return "value";
  }));
}
