// Cancellation: cancellation.py says what is expected.
#include <functional>
#include <string>
#include <vector>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {

/// A function that calls `park` and traces the cancellation before it passes it on.
template <class F>
auto traced_park(const Trace& trace, F park) {
  return [&trace, park] {
    try {
      park();
    } catch (const CancelledError&) {
      trace("CancelledError");
      throw;
    }
  };
}

struct AtEnd {
  std::function<void()> what;
  ~AtEnd() noexcept(false) { what(); }
};

void sleep_long() { sleep(1h); }

}  // namespace

SCENARIO(a_task_that_is_cancelled_before_its_first_step_never_runs) {
  loop.run_until_complete([&] {
    auto task = create_task(trace, "never");
    task.add_done_callback([&](const Future<>& t) { trace("callback", t.cancelled()); });
    const bool is_cancelled = task.cancel();
    trace("cancel", is_cancelled, task.done(), task.cancelling());
    loop.call_soon(trace, "behind its step");
    sleep(0s);
    trace("one iteration later", ending(task));
    sleep(0s);
  });
}

SCENARIO(a_callback_ahead_in_the_queue_cancels_a_task_before_its_first_step) {
  std::vector<Task<>> tasks;
  loop.call_soon([&] { trace("cancel", tasks[0].cancel()); });
  tasks.push_back(create_task(trace, "never"));
  run_once(loop);
  trace(ending(tasks[0]));
}

SCENARIO(a_parked_task_is_cancelled_with_what_it_waits_for) {
  Future<> future;
  loop.run_until_complete([&] {
    auto task = create_task(traced_park(trace, [future] { await(future); }));
    sleep(0s);
    loop.call_soon(trace, "given before");
    trace("cancel", task.cancel());
    loop.call_soon(trace, "given behind");
    trace("future cancelled", future.cancelled(), "task done", task.done());
    trace(end_of(task));
  });
}

SCENARIO(a_sleeping_task_is_cancelled_in_the_next_iteration) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      const AtEnd wakes{[&] { trace("wakes"); }};
      sleep_long();
    });
    sleep(0s);
    loop.call_soon(trace, "given before");
    task.cancel();
    loop.call_soon(trace, "given behind");
    trace("cancelled, still", ending(task));
    trace(end_of(task));
  });
}

SCENARIO(a_runnable_task_is_cancelled_in_its_turn) {
  loop.run_until_complete([&] {
    auto task = create_task(traced_park(trace, [&] {
      sleep(0s);
      trace("never");
    }));
    sleep(0s);
    loop.call_soon(trace, "given before");
    task.cancel();
    trace("cancelled, still", ending(task));
    trace(end_of(task));
  });
}

SCENARIO(tasks_hear_of_their_cancellation_in_the_order_of_the_requests) {
  const auto body = [&](const char* name) {
    const AtEnd wakes{[&] { trace(name); }};
    sleep_long();
  };
  loop.run_until_complete([&] {
    auto a = create_task(body, "a"), b = create_task(body, "b"), c = create_task(body, "c");
    sleep(0s);
    for (auto* task : {&c, &a, &b}) task->cancel();
    trace("a", end_of(a));
    trace("b", end_of(b));
    trace("c", end_of(c));
  });
}

SCENARIO(two_requests_at_once_are_one_error) {
  Future<> future;
  const auto body = [&](const std::function<void()>& park) {
    for (int i = 0; i < 2; ++i) {
      try {
        park();
        trace("parked and went on");
      } catch (const CancelledError&) {
        trace("CancelledError", current_task().cancelling());
      }
    }
  };
  const std::function<void()> await_unless_done = [&] {
    if (!future.done()) await(future);
  };
  loop.run_until_complete([&] {
    for (const std::function<void()>& park :
         {std::function<void()>([] { sleep(1ms); }), std::function<void()>([] { sleep(0s); }), await_unless_done}) {
      auto task = create_task(body, park);
      sleep(0s);
      const bool first = task.cancel();
      trace(first, task.cancel());
      trace(end_of(task));
    }
  });
}

SCENARIO(a_request_after_the_delivery_is_a_second_error) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      for (int i = 0; i < 2; ++i) {
        try {
          sleep_long();
        } catch (const CancelledError&) {
          trace("CancelledError", current_task().cancelling());
        }
      }
      return std::string("ends");
    });
    for (int i = 0; i < 2; ++i) {
      sleep(0s);
      task.cancel();
      sleep(0s);
    }
    trace(end_of(task));
  });
}

SCENARIO(a_cancellation_that_is_swallowed_is_not_repeated) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      try {
        sleep_long();
      } catch (const CancelledError&) {
        trace("swallowed");
      }
      sleep(0s);
      trace("goes on");
      return std::string("value");
    });
    sleep(0s);
    task.cancel();
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}

SCENARIO(a_cancellation_may_be_answered_with_another_error) {
  loop.run_until_complete([&] {
    auto task = create_task([] {
      try {
        sleep_long();
      } catch (const CancelledError&) {
        fail();
      }
    });
    sleep(0s);
    task.cancel();
    trace(end_of(task));
  });
}

SCENARIO(cancel_of_a_task_that_has_ended_is_refused) {
  loop.run_until_complete([&] {
    auto ended = create_task([] { return std::string("value"); });
    await(ended);
    const bool is_cancelled = ended.cancel();
    trace("cancel", is_cancelled, ending(ended), ended.cancelling());
    auto task = create_task(sleep_long);
    task.cancel();
    trace(end_of(task));
    const bool is_cancelled_again = task.cancel();
    trace("cancel", is_cancelled_again, ending(task), task.cancelling());
  });
}

// The result and the request in one iteration.

SCENARIO(a_cancellation_behind_the_result) {
  Future<std::string> future;
  loop.run_until_complete([&] {
    auto task = create_task(traced_park(trace, [&] {
      trace("has", await(future));
      sleep(0s);
    }));
    sleep(0s);
    future.set_result("the value");
    trace("cancel", task.cancel());
    trace(end_of(task));
  });
}

SCENARIO(a_cancellation_behind_the_result_of_a_task_that_parks_no_more) {
  Future<int> future;
  loop.run_until_complete([&] {
    auto task = create_task([=] { return "value " + std::to_string(await(future)); });
    sleep(0s);
    future.set_result(1);
    trace("cancel", task.cancel());
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}

SCENARIO(a_result_behind_the_cancellation_is_refused) {
  Future<int> future;
  auto task = create_task([=] { return await(future); });
  loop.run_until_complete([&] {
    sleep(0s);
    trace("cancel", task.cancel());
    trace("set_result", outcome([&] { future.set_result(1); }));
    trace(end_of(task));
  });
}

SCENARIO(a_task_and_its_future_are_cancelled_at_once) {
  Future<> future;
  loop.run_until_complete([&] {
    auto task = create_task([=] { await(future); });
    sleep(0s);
    const bool is_task_cancelled = task.cancel();
    trace("task", is_task_cancelled, "future", future.cancel());
    trace(end_of(task));
  });
}

SCENARIO(a_task_is_cancelled_by_the_future_that_it_waits_for) {
  Future<std::string> future;
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      trace("has", await(future));
      traced_park(trace, [] { sleep(0s); })();
    });
    future.add_done_callback([&](const Future<std::string>&) { trace("callback cancels", task.cancel()); });
    sleep(0s);
    loop.call_soon([&] { future.set_result("value"); });
    trace(end_of(task));
  });
}

// Oneself.

SCENARIO(a_task_that_cancels_itself_and_returns_ends_cancelled) {
  loop.run_until_complete([&] {
    trace(end_of(create_task([&] {
      trace("cancel", current_task().cancel());
      return std::string("value");
    })));
  });
}

SCENARIO(a_task_that_cancels_itself_hears_of_it_an_iteration_after_it_parks) {
  const auto body = [&](const std::function<void()>& park) {
    current_task().cancel();
    loop.call_soon(trace, "called soon");
    traced_park(trace, park)();
  };
  Future<> future;
  loop.run_until_complete([&] {
    trace(end_of(create_task(body, [] { sleep(0s); })));
    trace(end_of(create_task(body, sleep_long)));
    const std::string end = end_of(create_task(body, [&] { await(future); }));
    trace(end, future.cancelled());
  });
}

SCENARIO(a_task_that_cancels_itself_may_wait_for_what_is_done) {
  Future<std::string> done;
  done.set_result("value");
  loop.run_until_complete([&] {
    trace(end_of(create_task([&] {
      current_task().cancel();
      trace(await(done));
      sleep(0s);
      trace("never");
    })));
  });
}

SCENARIO(a_task_that_cancelled_itself_cancels_the_child_that_it_waits_for) {
  const auto child = [&] {
    try {
      trace("child begins");
      sleep_long();
    } catch (const CancelledError&) {
      trace("child cancelled");
      sleep(0s);
      trace("child ends");
      throw;
    }
  };
  loop.run_until_complete([&] {
    trace(end_of(create_task([&] {
      auto task = create_task(child);
      sleep(0s);
      current_task().cancel();
      const AtEnd end{[&] { trace("parent, child done:", task.done()); }};
      await(task);
    })));
  });
}

// Those who wait for each other.

SCENARIO(a_cancellation_goes_down_the_chain_and_comes_back_up) {
  std::function<void(int)> link = [&](int depth) {
    const AtEnd end{[&] { trace("link", depth); }};
    if (depth > 0)
      await(create_task(link, depth - 1));
    else
      sleep_long();
  };
  std::function<void(int)> tick = [&](int left) {
    trace("-");
    if (left > 0) loop.call_soon(tick, left - 1);
  };
  loop.run_until_complete([&] {
    auto task = create_task(link, 2);
    for (int i = 0; i < 4; ++i) sleep(0s);
    loop.call_soon(tick, 4);
    trace("cancel", task.cancel());
    trace(end_of(task));
  });
  run_once(loop);
}

SCENARIO(a_message_goes_with_the_cancellation) {
  std::function<void(int)> link = [&](int depth) {
    try {
      if (depth > 0)
        await(create_task(link, depth - 1));
      else
        sleep_long();
    } catch (const CancelledError& error) {
      trace("link", depth, error.message());
      throw;
    }
  };
  loop.run_until_complete([&] {
    auto task = create_task(link, 1);
    sleep(0s);
    sleep(0s);
    task.cancel("enough");
    trace(end_of(task));
  });
}

SCENARIO(a_child_that_swallows_the_cancellation_gives_its_parent_a_value) {
  const auto child = [&] {
    try {
      sleep_long();
    } catch (const CancelledError&) {
      trace("swallowed");
    }
    return std::string("value");
  };
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      std::string value = await(create_task(child));
      trace("parent has", value, current_task().cancelling());
      sleep(0s);
      return value;
    });
    sleep(0s);
    sleep(0s);
    task.cancel();
    trace(end_of(task));
  });
}

SCENARIO(a_child_that_answers_with_an_error_gives_its_parent_that) {
  const auto child = [] {
    try {
      sleep_long();
    } catch (const CancelledError&) {
      fail();
    }
  };
  loop.run_until_complete([&] {
    auto task = create_task([&] { await(create_task(child)); });
    sleep(0s);
    sleep(0s);
    task.cancel();
    trace(end_of(task));
  });
}

SCENARIO(a_parent_is_cancelled_whose_child_has_not_begun) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      const AtEnd end{[&] { trace("parent"); }};
      await(create_task(trace, "never"));
    });
    loop.call_soon([&] { trace("cancel", task.cancel()); });
    trace(end_of(task));
  });
}

SCENARIO(a_child_is_cancelled_by_somebody_else) {
  loop.run_until_complete([&] {
    auto child = create_task(sleep_long);
    auto task = create_task([&] {
      trace("parent", outcome([&] { await(child); }));
      trace("cancelling", current_task().cancelling());
      sleep(0s);
      trace("parent goes on");
    });
    sleep(0s);
    child.cancel();
    end_of(task);
  });
}

SCENARIO(one_of_two_waiters_is_cancelled) {
  Future<std::string> future;
  const auto wait = [=] { return await(future); };
  loop.run_until_complete([&] {
    auto one = create_task(wait), other = create_task(wait);
    sleep(0s);
    one.cancel();
    trace("future cancelled", future.cancelled());
    trace("one", end_of(one));
    if (!future.done()) future.set_result("value");
    trace("other", end_of(other));
  });
}

SCENARIO(a_waiter_is_cancelled_beside_a_done_callback) {
  Future<std::string> future;
  future.add_done_callback(
      [&](const Future<std::string>& f) { trace("callback", f.cancelled() ? "cancelled" : f.result()); });
  loop.run_until_complete([&] {
    auto task = create_task([=] { return await(future); });
    sleep(0s);
    task.cancel();
    trace("future cancelled", future.cancelled());
    trace(end_of(task));
    if (!future.done()) future.set_result("value");
    sleep(0s);
  });
}

SCENARIO(both_waiters_of_a_future_are_cancelled) {
  Future<> future;
  const auto body = [&](const char* name) {
    const AtEnd wakes{[&] { trace(name); }};
    await(future);
  };
  loop.run_until_complete([&] {
    auto one = create_task(body, "one"), other = create_task(body, "other");
    sleep(0s);
    one.cancel();
    other.cancel();
    trace(end_of(one));
    trace(end_of(other));
  });
}

// While cleaning up.

SCENARIO(a_handler_may_park_and_is_cancelled_by_a_second_request) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      try {
        sleep_long();
      } catch (const CancelledError&) {
        trace("cleans up");
        try {
          sleep_long();
        } catch (const CancelledError&) {
          trace("cancelled again");
        }
        throw;
      }
    });
    sleep(0s);
    task.cancel();
    sleep(0s);
    trace("cleaning up", ending(task));
    task.cancel();
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}

SCENARIO(a_second_request_while_the_stack_unwinds) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      const AtEnd cleanup{[&] {
        trace("cleans up");
        for (int i = 0; i < 3; ++i) sleep(0s);
        trace("cleaned up");
      }};
      sleep_long();
    });
    sleep(0s);
    task.cancel();
    sleep(0s);
    task.cancel();
    trace(end_of(task));
  });
}

// Counting.

SCENARIO(requests_are_counted_and_taken_back) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      TaskHandle me = current_task();
      try {
        sleep_long();
      } catch (const CancelledError&) {
        trace("cancelling", me.cancelling());
        const unsigned first = me.uncancel(), second = me.uncancel();
        trace("uncancel", first, second, me.uncancel());
      }
      sleep(0s);
      return std::string("value");
    });
    sleep(0s);
    task.cancel();
    task.cancel();
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}

SCENARIO(a_request_that_is_taken_back_is_not_delivered) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      TaskHandle me = current_task();
      me.cancel();
      trace("uncancel", me.uncancel());
      sleep(0s);
      trace("goes on");
      return std::string("value");
    });
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}

SCENARIO(one_of_two_requests_is_taken_back) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      TaskHandle me = current_task();
      me.cancel();
      me.cancel();
      trace("uncancel", me.uncancel());
      try {
        sleep(0s);
      } catch (const CancelledError&) {
        trace("CancelledError");
      }
      return std::string("value");
    });
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}

SCENARIO(a_body_may_throw_cancelled_error_by_itself) {
  loop.run_until_complete([&] {
    auto task = create_task([] { throw CancelledError(); });
    const std::string end = end_of(task);
    trace(end, task.cancelling());
  });
}
