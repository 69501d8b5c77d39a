// gather, wait, as_completed, shield and with_task_group: gathers.py says what is expected.
#include <tulp/wait.hpp>

#include <functional>
#include <string>
#include <vector>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

void passes(int count) {
  for (int i = 0; i < count; ++i) sleep(0s);
}

template <class T>
T value_after(int count, T value) {
  passes(count);
  return value;
}

int fail_after(int count, const char* text = "oops") {
  passes(count);
  fail(text);
}

void end_slowly(const Trace& trace, const std::string& name, int count) {
  try {
    sleep(1h);
  } catch (const CancelledError&) {
    passes(count);
    trace(name, "cleaned up");
    throw;
  }
}

using Body = std::function<void(TaskGroup&)>;

std::string in_group(const Body& body) {
  try {
    with_task_group(body);
  } catch (const ExceptionGroup& errors) {
    return std::to_string(errors.exceptions().size());
  }
  return "None";
}

}  // namespace

SCENARIO(a_gather_is_done_in_the_pass_after_its_last_child) {
  loop.run_until_complete([&] {
    std::vector<Task<int>> tasks;
    for (const int count : {3, 1, 2}) tasks.push_back(create_task(value_after<int>, count, count));
    mark_passes(loop, 7);
    const auto results = await(gather(tasks));
    trace(results[0], results[1], results[2]);
  });
}

SCENARIO(a_gather_fails_with_the_first_failure_and_the_others_go_on) {
  loop.run_until_complete([&] {
    auto late = create_task(value_after<std::string>, 5, "late");
    auto failing = create_task([] { return fail_after(1); });
    mark_passes(loop, 4);
    const std::string end = outcome([&] { await(gather(late, failing)); });
    trace(end, ending(late));
    trace(await(late));
  });
}

SCENARIO(losers_of_a_gather_are_not_reported) {
  loop.run_until_complete([&] {
    std::vector<Task<int>> tasks;
    for (const char* text : {"oops 3", "oops 1", "oops 2"})
      tasks.push_back(create_task([=] { return fail_after(text[5] - '0', text); }));
    trace(outcome([&] { await(gather(tasks)); }));
    tasks.clear();
    passes(5);
  });
}

SCENARIO(a_gather_of_what_is_done_takes_a_pass) {
  loop.run_until_complete([&] {
    Future<std::string> done;
    done.set_result("value");
    const auto gathered = gather(done, done);
    trace(gathered.done());
    mark_passes(loop, 3);
    const auto results = await(gathered);
    trace(std::get<0>(results), std::get<1>(results));
  });
}

SCENARIO(a_gather_of_a_cancelled_child_is_not_cancelled_itself) {
  loop.run_until_complete([&] {
    auto child = create_task(passes, 9);
    auto other = create_task(value_after<std::string>, 3, "other");
    const auto gathered = gather(child, other);
    sleep(0s);
    child.cancel();
    while (!gathered.done()) sleep(0s);
    trace(gathered.cancelled(), ending(child), await(other));
    static_cast<void>(gathered.exception());
  });
}

SCENARIO(cancelling_a_gather_cancels_its_children) {
  loop.run_until_complete([&] {
    std::vector<Task<>> tasks;
    for (const char* name : {"a", "b"}) tasks.push_back(create_task(end_slowly, std::cref(trace), name, 0));
    auto gathered = gather(tasks);
    sleep(0s);
    const bool is_cancelled = gathered.cancel();
    trace("cancel", is_cancelled, gathered.done());
    while (!gathered.done()) sleep(0s);
    trace(gathered.cancelled(), ending(tasks[0]), ending(tasks[1]), gathered.cancel());
  });
}

SCENARIO(the_waiter_of_a_cancelled_gather_goes_on_with) {
  loop.run_until_complete([&] {
    const std::vector tasks{create_task(end_slowly, std::cref(trace), "slow", 5),
                            create_task(end_slowly, std::cref(trace), "quick", 0)};
    auto waiting = create_task([&] { await(gather(tasks)); });
    passes(2);
    waiting.cancel();
    end_of(waiting);
    trace("main's task is done");
    const std::string end = end_of(tasks[0]);
    trace(end, ending(tasks[1]));
  });
}

SCENARIO(wait_returns_in_the_pass_after_the_last_end) {
  loop.run_until_complete([&] {
    const std::vector tasks{create_task(value_after<int>, 2, 2), create_task(value_after<int>, 1, 1)};
    mark_passes(loop, 6);
    const auto result = tulp::wait(tasks);
    trace(result.done.size(), result.pending.size());
  });
}

SCENARIO(wait_for_the_first_that_ends_and_for_the_first_that_fails) {
  loop.run_until_complete([&] {
    std::vector tasks{create_task(value_after<int>, 4, 1), create_task(value_after<int>, 1, 2)};
    tasks.push_back(create_task([] { return fail_after(3); }));
    tasks.push_back(create_task(value_after<int>, 9, 3));
    const auto first = tulp::wait(tasks, {.return_when = FIRST_COMPLETED});
    trace(first.done.size(), first.pending.size());
    tasks[3].cancel();
    const auto failed = tulp::wait(tasks, {.return_when = FIRST_EXCEPTION});
    trace(failed.done.size(), failed.pending.size(), ending(tasks[0]), ending(tasks[1]), ending(tasks[2]),
          ending(tasks[3]));
    tulp::wait(tasks);
  });
}

SCENARIO(wait_with_a_limit_cancels_nothing) {
  loop.run_until_complete([&] {
    auto task = create_task([] { sleep(1h); });
    const auto first = tulp::wait(std::vector{task}, {.timeout = 1ms});
    trace(first.done.size(), first.pending.size(), task.cancelling());
    const auto second = tulp::wait(std::vector{task}, {.timeout = 0s});
    trace(second.done.size(), second.pending.size());
    task.cancel();
    trace(end_of(task));
  });
}

SCENARIO(a_shield_takes_the_cancellation_for_what_is_behind_it) {
  loop.run_until_complete([&] {
    auto inner = create_task(value_after<std::string>, 4, "inner");
    auto waiting = create_task([&] { await(shield(inner)); });
    passes(2);
    waiting.cancel();
    const std::string end = end_of(waiting);
    trace(end, inner.cancelling());
    trace(await(inner));
  });
}

SCENARIO(a_shield_ends_one_pass_after_what_is_behind_it) {
  loop.run_until_complete([&] {
    auto inner = create_task(value_after<std::string>, 2, "inner");
    mark_passes(loop, 6);
    trace(await(shield(inner)));
    trace(shield(inner).done());
  });
}

SCENARIO(the_failure_behind_a_cancelled_shield_is_reported) {
  loop.run_until_complete([&] {
    auto outer = shield(create_task([] { fail_after(2); }));
    outer.cancel();
    passes(5);
  });
}

SCENARIO(wait_for_in_time_and_too_late) {
  loop.run_until_complete([&] {
    trace(wait_for(create_task(value_after<std::string>, 2, "value"), 1h));
    auto slow = create_task(end_slowly, std::cref(trace), "slow", 3);
    const std::string late = outcome([&] { wait_for(slow, 1ms); });
    trace(late, ending(slow));
    auto never = create_task(end_slowly, std::cref(trace), "never", 0);
    const std::string at_once = outcome([&] { wait_for(never, 0s); });
    trace(at_once, ending(never));
    trace(current_task().cancelling());
  });
}

SCENARIO(a_group_waits_for_its_tasks_and_for_theirs) {
  loop.run_until_complete([&] {
    const auto child = [&] {
      passes(3);
      trace("child ends");
    };
    trace(in_group([&](TaskGroup& group) {
      group.create_task([&] {
        sleep(0s);
        group.create_task(child);
        trace("parent ends");
      });
      trace("body ends");
    }));
  });
}

SCENARIO(the_first_failure_in_a_group_cancels_siblings_and_body) {
  loop.run_until_complete([&] {
    const std::string end = in_group([&](TaskGroup& group) {
      group.create_task(end_slowly, std::cref(trace), "sibling", 2);
      group.create_task([] { fail_after(1); });
      end_slowly(trace, "body", 0);
    });
    trace(end, current_task().cancelling());
    sleep(0s);
  });
}

SCENARIO(all_failures_of_a_group_are_counted) {
  loop.run_until_complete([&] {
    trace(in_group([&](TaskGroup& group) {
      group.create_task([] {
        try {
          sleep(1h);
        } catch (const CancelledError&) {
          fail("in answer");
        }
      });
      group.create_task([] { fail_after(1); });
      passes(2);
      fail("body");
    }));
  });
}

SCENARIO(a_group_takes_no_task_when_it_is_ending) {
  loop.run_until_complete([&] {
    trace(in_group([&](TaskGroup& group) {
      group.create_task([] { fail_after(0); });
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        try {
          group.create_task([] {});
        } catch (const InvalidStateError&) {
          trace("refused");
        }
        throw;
      }
    }));
  });
}

SCENARIO(a_cancellation_from_outside_goes_through_a_group) {
  loop.run_until_complete([&] {
    const Body body = [&](TaskGroup& group) {
      group.create_task(end_slowly, std::cref(trace), "task", 3);
      end_slowly(trace, "body", 0);
    };
    auto task = create_task([&] {
      try {
        in_group(body);
      } catch (const CancelledError&) {
        trace("outer CancelledError", current_task().cancelling());
        throw;
      }
    });
    passes(3);
    task.cancel();
    trace(end_of(task));
  });
}

SCENARIO(a_cancelled_task_of_a_group_is_no_failure) {
  loop.run_until_complete([&] {
    trace(in_group([&](TaskGroup& group) {
      auto task = group.create_task(end_slowly, std::cref(trace), "task", 0);
      sleep(0s);
      task.cancel();
    }));
  });
}
