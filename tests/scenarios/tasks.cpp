// Tasks: tasks.py says what is expected.
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

SCENARIO(the_first_step_of_a_task_is_queued) {
  loop.run_until_complete([&] {
    loop.call_soon(trace, "before");
    auto first = create_task(trace, "first");
    loop.call_soon(trace, "between");
    auto second = create_task(trace, "second");
    loop.call_soon(trace, "behind");
    trace("created", first.done(), second.done());
    await(second);
  });
}

SCENARIO(sleep_0_lets_everything_run_that_is_ready_once) {
  const auto body = [&](const char* name) {
    for (int number = 0; number < 3; ++number) {
      trace(name, number);
      sleep(0s);
    }
  };
  loop.run_until_complete([&] {
    std::vector<Task<>> tasks;
    for (const char* name : {"a", "b", "c"}) tasks.push_back(create_task(body, name));
    for (int number = 0; number < 4; ++number) {
      trace("main", number);
      sleep(0s);
    }
    for (auto& task : tasks) await(task);
  });
}

SCENARIO(sleep_0_and_a_chain_of_callbacks_take_turns) {
  std::function<void(int)> link = [&](int left) {
    trace("callback", left);
    if (left > 0) loop.call_soon(link, left - 1);
  };
  loop.run_until_complete([&] {
    loop.call_soon(link, 3);
    for (int number = 0; number < 4; ++number) {
      trace("task", number);
      sleep(0s);
    }
  });
}

SCENARIO(a_tasks_end_is_heard_in_the_next_iteration) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      loop.call_soon(trace, "given by the task");
      return std::string("value");
    });
    task.add_done_callback([&](const Future<std::string>& t) { trace("callback", t.result()); });
    loop.call_soon(trace, "behind the task");
    trace("main has", await(task));
  });
}

SCENARIO(done_callbacks_and_waiters_of_a_task_stand_in_one_line) {
  const auto waiter = [&](const char* name, const Task<std::string>& task) { trace(name, await(task)); };
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      sleep(0s);
      trace("body ends");
      return std::string("value");
    });
    task.add_done_callback([&](const Future<std::string>& t) { trace("callback 1", t.result()); });
    auto first = create_task(waiter, "waiter 1", task);
    sleep(0s);
    task.add_done_callback([&](const Future<std::string>& t) { trace("callback 2", t.result()); });
    await(first);
    trace("main", await(task));
  });
}

SCENARIO(waiting_for_a_task_that_has_ended_does_not_switch) {
  loop.run_until_complete([&] {
    auto task = create_task([] { return std::string("value"); });
    await(task);
    loop.call_soon(trace, "soon");
    trace("again", await(task), await(task));
    sleep(0s);
  });
}

SCENARIO(a_task_ends_one_iteration_for_each_link_of_a_chain) {
  std::function<void(int)> link = [&](int depth) {
    if (depth > 0) await(create_task(link, depth - 1));
    trace("link", depth);
  };
  std::function<void(int)> tick = [&](int left) {
    trace("-");
    if (left > 0) loop.call_soon(tick, left - 1);
  };
  loop.run_until_complete([&] {
    auto task = create_task(link, 3);
    loop.call_soon(tick, 8);
    await(task);
  });
  for (int i = 0; i < 4; ++i) run_once(loop);
}

SCENARIO(a_direct_call_takes_no_iteration) {
  const std::function<int(int)> inner = [&](int depth) { return depth > 0 ? inner(depth - 1) + 1 : 0; };
  loop.run_until_complete([&] {
    loop.call_soon(trace, "soon");
    trace("called", inner(5));
    sleep(0s);
  });
}

SCENARIO(an_exception_of_a_task_reaches_all_its_waiters) {
  const auto waiter = [&](int number, const Task<>& task) { trace("waiter", number, outcome([&] { await(task); })); };
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      trace("body");
      fail();
    });
    auto first = create_task(waiter, 0, task), second = create_task(waiter, 1, task);
    trace("main", outcome([&] { await(task); }));
    await(first);
    await(second);
  });
}

SCENARIO(a_failed_task_that_nobody_holds_is_reported_at_its_end) {
  create_task([&] {
    trace("fails");
    fail();
  });
  loop.call_soon(trace, "next");
  run_once(loop);
  trace("-");
  run_once(loop);
}

SCENARIO(a_failed_task_that_nobody_asked_is_reported_when_it_dies) {
  std::optional task = create_task([] { fail(); });
  run_once(loop);
  trace("failed", task->done());
  task.reset();
  trace("dropped");
}

SCENARIO(a_done_callback_that_asks_takes_note_of_the_failure) {
  create_task([] { fail(); }).add_done_callback([&](const Future<>& task) {
    trace("asked", outcome([&] { task.result(); }));
  });
  run_once(loop);
  run_once(loop);
  trace("end");
}

SCENARIO(current_task_is_the_one_that_runs) {
  TaskHandle main_task;
  const auto body = [&] {
    const TaskHandle me = current_task();
    loop.call_soon([&] { trace("callback:", !current_task()); });
    sleep(0s);
    trace("body:", current_task() == me, !(me == main_task));
  };
  auto task = create_task([&] {
    auto child = create_task(body);
    child.add_done_callback([&](const Future<>&) { trace("done callback:", !current_task()); });
    await(child);
    trace("main:", current_task() == main_task);
  });
  main_task = task;
  loop.run_until_complete(Future<>(task));
  trace("outside:", !current_task());
}

SCENARIO(all_tasks_are_those_that_have_not_ended) {
  const auto body = [](int count) {
    for (int i = 0; i < count; ++i) sleep(0s);
  };
  loop.run_until_complete([&] {
    std::vector<Task<>> tasks;
    for (int count = 0; count < 3; ++count) tasks.push_back(create_task(body, count));
    trace(all_tasks().size());
    while (all_tasks().size() > 1) {
      sleep(0s);
      trace(all_tasks().size(), std::count_if(tasks.begin(), tasks.end(), [](auto& task) { return task.done(); }));
    }
  });
  trace(all_tasks().size());
}

SCENARIO(the_result_of_a_task_is_its_own) {
  loop.run_until_complete([&] {
    auto task = create_task([] { return 1; });
    trace("result:", outcome([&] { return task.result(); }));
    trace("set_result:", outcome([&] { task.set_result(2); }));
    trace("set_exception:", outcome([&] { task.set_exception(Oops("oops")); }));
    trace("await:", await(task));
  });
}

SCENARIO(a_task_cannot_wait_for_itself) {
  std::optional<Task<std::string>> task;
  task = create_task([&] {
    trace(outcome([&] { return await(*task); }));
    return std::string("ends");
  });
  trace(loop.run_until_complete(Future<std::string>(*task)));
}

SCENARIO(a_task_started_by_a_done_callback_begins_in_the_next_iteration) {
  Future<> future;
  future.add_done_callback([&](const Future<>&) {
    trace("callback");
    create_task(trace, "body");
  });
  loop.call_soon([&] { future.set_result(); });
  loop.call_soon([&] { loop.call_soon(trace, "beside the callback"); });
  for (int i = 0; i < 3; ++i) {
    run_once(loop);
    trace("-");
  }
}

SCENARIO(a_task_that_makes_tasks_runs_on_before_them) {
  const auto branch = [&](const std::string& name) {
    auto first = create_task(trace, name + "0"), second = create_task(trace, name + "1");
    trace(name, "made two");
    await(first);
    await(second);
    trace(name, "ends");
  };
  loop.run_until_complete([&] {
    auto a = create_task(branch, "a"), b = create_task(branch, "b");
    trace("main made two");
    await(a);
    await(b);
  });
}

SCENARIO(a_waiter_that_comes_while_others_are_woken_does_not_wait) {
  Future<std::string> future;
  loop.run_until_complete([&] {
    auto early = create_task([&] { trace("early", await(future)); });
    sleep(0s);
    auto late = create_task([&] { trace("late", await(future)); });
    future.set_result("value");
    await(early);
    await(late);
  });
}

SCENARIO(sleepers_wake_in_the_order_of_their_time) {
  std::vector<TimePoint> woken;
  const auto sleeper = [&](std::chrono::milliseconds time) {
    const TimePoint when = loop.time() + time;
    sleep(time);
    woken.push_back(when);
  };
  loop.run_until_complete([&] {
    std::vector<Task<>> tasks;
    for (const auto time : {7ms, 1ms, 4ms}) tasks.push_back(create_task(sleeper, time));
    for (auto& task : tasks) await(task);
  });
  trace(woken.size(), std::is_sorted(woken.begin(), woken.end()));
}

SCENARIO(a_sleeper_goes_on_behind_the_timers_that_are_due_with_it) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      sleep(1ms);
      trace("sleeper");
    });
    sleep(0s);
    loop.call_later(1ms, trace, "timer");
    let_pass(loop, 3ms);
    await(task);
  });
}

SCENARIO(a_sleeper_goes_on_behind_what_its_neighbours_give) {
  const auto sleeper = [&](const char* name) {
    sleep(1ms);
    trace(name);
    loop.call_soon(trace, name, "called soon");
  };
  loop.run_until_complete([&] {
    auto a = create_task(sleeper, "a"), b = create_task(sleeper, "b");
    sleep(0s);
    loop.call_later(1ms, [&] { loop.call_soon(trace, "given by a timer"); });
    let_pass(loop, 3ms);
    await(a);
    await(b);
    sleep(0s);
  });
}
