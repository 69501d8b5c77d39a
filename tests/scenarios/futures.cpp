// Futures: futures.py says what is expected.
#include <array>
#include <optional>
#include <vector>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

SCENARIO(a_pending_future_has_neither_result_nor_exception) {
  const Future<int> future;
  trace(future.done(), future.cancelled());
  trace("result:", outcome([&] { return future.result(); }));
  trace("exception:", outcome([&] { return name_of(future.exception()); }));
}

SCENARIO(a_result_is_set_once) {
  Future<int> future;
  future.set_result(1);
  trace("set_result:", outcome([&] { future.set_result(2); }));
  trace("set_exception:", outcome([&] { future.set_exception(Oops("oops")); }));
  trace("cancel:", future.cancel());
  trace("result:", future.result(), future.result());
  trace("exception:", name_of(future.exception()));
}

SCENARIO(an_exception_is_set_once_and_thrown_each_time) {
  Future<int> future;
  future.set_exception(Oops("oops"));
  trace("set_result:", outcome([&] { future.set_result(2); }));
  trace("cancel:", future.cancel(), future.cancelled());
  trace("result:", outcome([&] { return future.result(); }));
  trace("result:", outcome([&] { return future.result(); }));
  trace("exception:", name_of(future.exception()));
}

SCENARIO(a_cancelled_future_stays_cancelled) {
  Future<int> future;
  const bool first = future.cancel();
  trace("cancel:", first, future.cancel());
  trace("done", future.done(), future.cancelled());
  trace("result:", outcome([&] { return future.result(); }));
  trace("set_result:", outcome([&] { future.set_result(1); }));
}

SCENARIO(done_callbacks_are_called_soon_in_the_order_of_their_adding) {
  Future<int> future;
  for (const char* name : {"a", "b", "c"})
    future.add_done_callback([&trace, name](const Future<int>& f) { trace(name, f.result()); });
  loop.call_soon(trace, "given before");
  future.set_result(1);
  trace("set");
  loop.call_soon(trace, "given behind");
  run_once(loop);
}

SCENARIO(a_done_callback_of_a_done_future_is_called_soon_as_well) {
  Future<int> future;
  future.set_result(1);
  loop.call_soon(trace, "before");
  future.add_done_callback([&](const Future<int>& f) { trace("done callback", f.result()); });
  trace("added");
  loop.call_soon(trace, "behind");
  run_once(loop);
}

SCENARIO(a_done_callback_that_is_added_twice_runs_twice) {
  Future<> future;
  const auto heard = [&](const Future<>&) { trace("heard"); };
  future.add_done_callback(heard);
  future.add_done_callback(heard);
  future.set_result();
  run_once(loop);
}

SCENARIO(a_done_callback_that_is_added_while_they_run_waits_for_the_next_iteration) {
  Future<> future;
  future.add_done_callback([&](Future<> f) {
    trace("first");
    f.add_done_callback([&](const Future<>&) { trace("added"); });
  });
  future.add_done_callback([&](const Future<>&) { trace("second"); });
  future.set_result();
  run_once(loop);
  trace("-");
  run_once(loop);
}

SCENARIO(a_done_callback_that_is_taken_back_does_not_run) {
  Future<> future;
  future.add_done_callback([&](const Future<>&) { trace("first"); });
  const CallbackId taken = future.add_done_callback([&](const Future<>&) { trace("never"); });
  future.add_done_callback([&](const Future<>&) { trace("third"); });
  trace("there:", future.remove_done_callback(taken));
  trace("there:", future.remove_done_callback(taken));
  future.set_result();
  run_once(loop);
}

SCENARIO(a_queued_done_callback_cannot_be_taken_back) {
  Future<> future;
  const CallbackId heard = future.add_done_callback([&](const Future<>&) { trace("heard"); });
  future.set_result();
  trace("there:", future.remove_done_callback(heard));
  run_once(loop);
}

SCENARIO(a_done_callback_that_fails_is_reported_and_the_others_run) {
  Future<> future;
  future.add_done_callback([&](const Future<>&) { trace("first"); });
  future.add_done_callback([&](const Future<>&) { fail(); });
  future.add_done_callback([&](const Future<>&) { trace("third"); });
  future.set_result();
  run_once(loop);
}

SCENARIO(cancel_of_a_future_schedules_its_callbacks) {
  Future<> future;
  future.add_done_callback([&](const Future<>& f) { trace("heard", f.cancelled()); });
  loop.call_soon(trace, "before");
  future.cancel();
  trace("cancelled", future.cancelled());
  run_once(loop);
}

SCENARIO(a_future_that_completes_another_takes_an_iteration_for_each_link) {
  Future<int> first, second, third;
  first.add_done_callback([&](const Future<int>& f) {
    trace("first");
    second.set_result(f.result() + 1);
  });
  second.add_done_callback([&](const Future<int>& f) {
    trace("second");
    third.set_result(f.result() + 1);
  });
  third.add_done_callback([&](const Future<int>& f) { trace("third", f.result()); });
  loop.call_soon([&] { first.set_result(1); });
  for (int i = 0; i < 4; ++i) {
    trace("-");
    run_once(loop);
  }
}

SCENARIO(a_done_callback_completes_a_future_that_its_neighbour_waits_for) {
  Future<> one, other;
  one.add_done_callback([&](const Future<>&) {
    trace("one, first");
    other.set_result();
  });
  one.add_done_callback([&](const Future<>&) { trace("one, second", other.done()); });
  other.add_done_callback([&](const Future<>&) { trace("other"); });
  one.set_result();
  run_once(loop);
  trace("-");
  run_once(loop);
}

// Waiting.

SCENARIO(waiters_and_done_callbacks_stand_in_one_line) {
  Future<int> future;
  const auto waiter = [&](const char* name) { trace(name, await(future)); };
  const auto callback = [&](const char* name) {
    future.add_done_callback([&trace, name](const Future<int>&) { trace(name); });
  };
  loop.run_until_complete([&] {
    callback("callback 1");
    auto first = create_task(waiter, "waiter 1");
    sleep(0s);
    callback("callback 2");
    auto second = create_task(waiter, "waiter 2");
    sleep(0s);
    callback("callback 3");
    future.set_result(5);
    trace("set");
    await(first);
    await(second);
  });
}

SCENARIO(waiting_for_a_done_future_does_not_switch) {
  loop.run_until_complete([&] {
    Future<int> future;
    future.set_result(1);
    loop.call_soon(trace, "soon");
    trace("value", await(future));
    Future<> failed;
    failed.set_exception(Oops("oops"));
    trace("failure", outcome([&] { await(failed); }));
    sleep(0s);
    trace("end");
  });
}

SCENARIO(a_waiter_goes_on_in_its_turn_after_the_result) {
  Future<std::string> future;
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      trace("waits");
      trace("has", await(future));
    });
    sleep(0s);
    loop.call_soon(trace, "given before the result");
    future.set_result("it");
    loop.call_soon(trace, "given behind the result");
    trace("set");
    await(task);
    trace("end");
  });
}

SCENARIO(all_waiters_get_the_result_first_come_first_served) {
  Future<std::string> future;
  const auto waiter = [&](int number) {
    trace(number, await(future));
    sleep(0s);
    trace(number, "again", await(future));
  };
  loop.run_until_complete([&] {
    std::vector<Task<>> tasks;
    for (int number = 0; number < 3; ++number) tasks.push_back(create_task(waiter, number));
    sleep(0s);
    future.set_result("value");
    for (auto& task : tasks) await(task);
  });
}

SCENARIO(all_waiters_get_the_exception) {
  Future<int> future;
  const auto waiter = [&](int number) { trace(number, outcome([&] { return await(future); })); };
  loop.run_until_complete([&] {
    std::vector<Task<>> tasks;
    for (int number = 0; number < 3; ++number) tasks.push_back(create_task(waiter, number));
    sleep(0s);
    future.set_exception(Oops("oops"));
    for (auto& task : tasks) await(task);
  });
}

SCENARIO(a_waiter_hears_that_somebody_else_cancelled_the_future) {
  Future<> future;
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      trace("waiter", outcome([&] { await(future); }));
      trace("cancelling", current_task().cancelling());
    });
    sleep(0s);
    future.cancel();
    await(task);
  });
}

SCENARIO(a_task_that_lets_the_cancellation_of_its_future_pass) {
  Future<> future;
  loop.run_until_complete([&] {
    auto task = create_task([&] { await(future); });
    task.add_done_callback([&](const Future<>& t) { trace("callback", t.cancelled() ? "cancelled" : "failed"); });
    sleep(0s);
    future.cancel();
    sleep(0s);
    try {
      await(task);
    } catch (const FutureCancelledError&) {
      trace("main got it");
    }
  });
}

SCENARIO(two_tasks_play_ping_pong) {
  const auto player = [&](const char* name, std::vector<Future<>> mine, std::vector<Future<>> others) {
    for (std::size_t number = 0; number < 3; ++number) {
      await(mine[number]);
      trace(name, number);
      if (number < others.size()) others[number].set_result();
    }
  };
  loop.run_until_complete([&] {
    const std::vector<Future<>> ping{Future<>(), Future<>(), Future<>()}, pong{Future<>(), Future<>(), Future<>()};
    auto first = create_task(player, "ping", ping, pong);
    auto second = create_task(player, "pong", pong, std::vector<Future<>>(ping.begin() + 1, ping.end()));
    loop.call_soon(trace, "before");
    Future<>(ping[0]).set_result();
    await(first);
    await(second);
  });
}

// Exceptions of which nobody took note.

SCENARIO(a_failure_that_nobody_asked_for_is_reported_when_the_future_dies) {
  Future<> future;
  future.set_exception(Oops("oops"));
  trace("set");
  future = Future<>();
  trace("dropped");
}

SCENARIO(a_failure_that_somebody_took_note_of_is_not_reported) {
  const std::function<void(Future<>&)> take_note[] = {
      [](Future<>& f) { outcome([&] { f.result(); }); }, [](Future<>& f) { f.exception(); },
      [](Future<>& f) { f.cancel(); },
      [&](Future<>& f) { loop.run_until_complete([&] { outcome([&] { await(f); }); }); }};
  for (const auto& take : take_note) {
    {
      Future<> future;
      future.set_exception(Oops("oops"));
      take(future);
    }
    trace("dropped");
  }
}

SCENARIO(a_done_callback_that_does_not_look_takes_no_note) {
  {
    Future<> future;
    future.add_done_callback([&](const Future<>&) { trace("heard"); });
    future.set_exception(Oops("oops"));
  }
  trace("dropped by us");
  run_once(loop);
  trace("end");
}

SCENARIO(a_pending_future_is_dropped_without_a_word) {
  {
    Future<> future;
    future.add_done_callback([&](const Future<>&) { trace("never"); });
    future = Future<>();
    future.cancel();
  }
  run_once(loop);
  trace("end");
}
