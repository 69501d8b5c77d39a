// Time limits: timeouts.py says what is expected.
#include <tulp/wait.hpp>

#include <functional>
#include <string>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

namespace {
void forever() { sleep(1h); }
}  // namespace

SCENARIO(what_ends_in_time_gives_its_value) {
  loop.run_until_complete([&] {
    trace(with_timeout(1h, [] {
      sleep(0s);
      return std::string("value");
    }));
  });
}

SCENARIO(what_does_not_end_is_cancelled_and_cleans_up_first) {
  const auto slow = [&] {
    try {
      forever();
    } catch (const CancelledError&) {
      trace("CancelledError", current_task().cancelling());
      sleep(0s);
      trace("cleaned up");
      throw;
    }
  };
  loop.run_until_complete([&] {
    const std::string end = outcome([&] { with_timeout(1ms, slow); });
    trace(end, current_task().cancelling());
  });
}

SCENARIO(an_error_in_time_passes) {
  loop.run_until_complete([&] { trace(outcome([&] { with_timeout(1h, [] { fail(); }); })); });
}

SCENARIO(the_inner_of_two_limits) {
  loop.run_until_complete([&] {
    trace("outer", with_timeout(1h, [&] {
            trace("inner", outcome([&] { with_timeout(1ms, forever); }));
            return std::string("goes on");
          }));
  });
}

SCENARIO(the_outer_of_two_limits) {
  const auto inner = [&] {
    try {
      with_timeout(1h, forever);
    } catch (const CancelledError&) {
      trace("inner CancelledError");
      throw;
    }
  };
  loop.run_until_complete([&] { trace("outer", outcome([&] { with_timeout(1ms, inner); })); });
}

SCENARIO(two_limits_that_pass_at_once) {
  const auto inner = [&] {
    trace("inner", outcome([] { with_timeout(1ms, forever); }));
    return std::string("goes on");
  };
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      const std::string end = outcome([&] { return with_timeout(1ms, inner); });
      trace("outer", end, current_task().cancelling());
    });
    sleep(0s);
    let_pass(loop, 3ms);
    await(task);
  });
}

SCENARIO(no_time_at_all_passes_at_the_first_park) {
  loop.run_until_complete([&] {
    trace(with_timeout(0s, [] { return std::string("value"); }));
    trace(outcome([&] { with_timeout(0s, forever); }));
    trace(outcome([&] { with_timeout(-1s, forever); }));
    trace(current_task().cancelling());
  });
}

SCENARIO(a_cancellation_from_outside_is_no_timeout) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      try {
        with_timeout(1h, forever);
      } catch (const CancelledError&) {
        trace("CancelledError");
        throw;
      }
    });
    sleep(0s);
    task.cancel();
    sleep(0s);
    trace(task.cancelled());
  });
}

SCENARIO(a_cancellation_from_outside_together_with_a_timeout_is_no_timeout) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      try {
        with_timeout(1ms, forever);
      } catch (const CancelledError&) {
        trace("CancelledError");
        throw;
      }
    });
    sleep(0s);
    let_pass(loop, 2ms);
    loop.call_later(0s, [&] { task.cancel(); });
    sleep(1ms);
    trace(task.cancelled());
  });
}

SCENARIO(a_body_that_swallows_the_cancellation_ends_in_time) {
  const auto stubborn = [&] {
    try {
      forever();
    } catch (const CancelledError&) {
      trace("swallowed");
    }
    return std::string("value");
  };
  loop.run_until_complete([&] {
    const std::string end = outcome([&] { return with_timeout(1ms, stubborn); });
    trace(end, current_task().cancelling());
    sleep(0s);
    trace("goes on");
  });
}

SCENARIO(a_limit_that_passes_together_with_the_sleep_it_limits) {
  loop.run_until_complete([&] {
    auto task = create_task([&] {
      trace(outcome([&] {
        return with_timeout(1ms, [] {
          sleep(1ms);
          return std::string("value");
        });
      }));
    });
    sleep(0s);
    let_pass(loop, 3ms);
    await(task);
  });
}

SCENARIO(a_limit_cancels_the_task_that_is_waited_for) {
  const auto child = [&] {
    try {
      forever();
    } catch (const CancelledError&) {
      trace("child");
      throw;
    }
  };
  loop.run_until_complete([&] {
    trace(outcome([&] {
      with_timeout(1ms, [&] {
        auto task = create_task(child);
        try {
          await(task);
        } catch (const CancelledError&) {
          trace("waiter, child done:", task.done());
          throw;
        }
      });
    }));
  });
}
