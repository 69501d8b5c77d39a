// Timers: timers.py says what is expected.
#include <array>
#include <functional>

#include "scenarios/scenario.hpp"

using namespace tulp;
using namespace tulp::scenarios;

SCENARIO(a_due_timer_runs_behind_what_is_queued) {
  loop.call_at(loop.time() - 1s, trace, "timer");
  loop.call_soon(trace, "soon");
  run_once(loop);
}

SCENARIO(due_timers_run_in_the_order_of_their_time) {
  const TimePoint now = loop.time();
  loop.call_at(now - 1s, trace, "third");
  loop.call_at(now - 3s, trace, "first");
  loop.call_at(now - 2s, trace, "second");
  run_once(loop);
}

SCENARIO(equal_timers) {
  const TimePoint when = loop.time() - 1s;
  for (int number = 0; number < 8; ++number) loop.call_at(when, trace, number);
  run_once(loop);
}

SCENARIO(no_delay_and_less_than_none_mean_the_next_iteration) {
  loop.call_later(0s, trace, "none");
  loop.call_soon(trace, "soon");
  loop.call_later(-1s, trace, "less");
  run_once(loop);
}

SCENARIO(a_timer_says_when) {
  const TimePoint when = loop.time() + 1h;
  TimerHandle timer = loop.call_at(when, trace, "never");
  trace(timer.when() == when, timer.cancelled());
  timer.cancel();
  trace(timer.when() == when, timer.cancelled());
  run_once(loop);
}

SCENARIO(a_due_timer_cancels_the_next_one) {
  TimerHandle second;
  const TimePoint now = loop.time();
  loop.call_at(now - 3s, [&] {
    trace("first");
    second.cancel();
  });
  second = loop.call_at(now - 2s, trace, "second");
  loop.call_at(now - 1s, trace, "third");
  run_once(loop);
  trace(second.cancelled());
}

SCENARIO(a_callback_cancels_a_timer_that_is_due_in_the_same_iteration) {
  TimerHandle timer = loop.call_at(loop.time() - 1s, trace, "timer");
  loop.call_soon([&] { timer.cancel(); });
  run_once(loop);
  run_once(loop);
  trace(timer.cancelled());
}

SCENARIO(a_cancelled_timer_is_as_if_it_had_never_been) {
  const TimePoint now = loop.time();
  std::array<TimerHandle, 8> timers;
  for (int number = 0; number < 8; ++number)
    timers[static_cast<std::size_t>(number)] = loop.call_at(now - 8s + number * 1s, trace, number);
  for (const std::size_t number : {0, 3, 4, 7, 4}) timers[number].cancel();
  run_once(loop);
}

SCENARIO(a_timer_is_cancelled_after_it_has_run) {
  TimerHandle timer = loop.call_later(0s, trace, "runs");
  run_once(loop);
  trace(timer.cancelled());
  timer.cancel();
  trace(timer.cancelled());
  run_once(loop);
}

SCENARIO(a_timer_made_by_a_timer_waits_for_the_next_iteration) {
  loop.call_at(loop.time() - 1s, [&] {
    trace("first");
    loop.call_at(loop.time() - 2s, trace, "second, due before the first");
    loop.call_soon(trace, "soon");
  });
  run_once(loop);
  trace("-");
  run_once(loop);
}

SCENARIO(a_timer_that_fails_is_reported_and_the_next_one_runs) {
  const TimePoint now = loop.time();
  loop.call_at(now - 2s, [] { fail(); });
  loop.call_at(now - 1s, trace, "next");
  run_once(loop);
}

SCENARIO(a_timer_among_a_chain_of_callbacks) {
  std::function<void(int)> link = [&](int left) {
    trace("chain", left);
    if (left > 1) loop.call_soon(link, left - 1);
  };
  loop.call_soon([&] {
    loop.call_soon(link, 3);
    loop.call_later(0s, [&] {
      trace("timer");
      loop.call_soon([&] { loop.stop(); });
    });
  });
  loop.run_forever();
}

SCENARIO(the_loop_sleeps_until_timers_are_due) {
  const TimePoint start = loop.time();
  for (const auto delay : {5ms, 1ms, 3ms})
    loop.call_at(start + delay, [&, delay] { trace(delay.count(), loop.time() >= start + delay); });
  loop.call_at(start + 7ms, [&] { loop.stop(); });
  loop.run_forever();
}

SCENARIO(a_timer_far_away_does_not_hold_up_the_others) {
  bool ran = false;
  TimerHandle far_away = loop.call_later(1h, trace, "never");
  loop.call_later(1ms, [&] { ran = true; });
  run_until(loop, [&] { return ran; });
  trace("the near one ran", far_away.cancelled());
  far_away.cancel();
}
