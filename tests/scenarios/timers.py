"""Timers: semantics row 35.  They are due when they are made, so that nothing has to wait."""
from scenario import Oops, run_once, run_until, scenario, tulp_differs


@scenario
def a_due_timer_runs_behind_what_is_queued(loop, trace):
    loop.call_at(loop.time() - 1, trace, "timer")
    loop.call_soon(trace, "soon")
    run_once(loop)


@scenario
def due_timers_run_in_the_order_of_their_time(loop, trace):
    now = loop.time()
    loop.call_at(now - 1, trace, "third")
    loop.call_at(now - 3, trace, "first")
    loop.call_at(now - 2, trace, "second")
    run_once(loop)


@scenario
@tulp_differs("semantics row 35: equal timers run in the order in which they were made",
              ["0", "1", "2", "3", "4", "5", "6", "7"])
def equal_timers(loop, trace):
    when = loop.time() - 1
    for number in range(8):
        loop.call_at(when, trace, number)
    run_once(loop)


@scenario
def no_delay_and_less_than_none_mean_the_next_iteration(loop, trace):
    loop.call_later(0, trace, "none")
    loop.call_soon(trace, "soon")
    loop.call_later(-1, trace, "less")
    run_once(loop)


@scenario
def a_timer_says_when(loop, trace):
    when = loop.time() + 3600
    timer = loop.call_at(when, trace, "never")
    trace(timer.when() == when, timer.cancelled())
    timer.cancel()
    trace(timer.when() == when, timer.cancelled())
    run_once(loop)


@scenario
def a_due_timer_cancels_the_next_one(loop, trace):
    def first():
        trace("first")
        second.cancel()
    now = loop.time()
    loop.call_at(now - 3, first)
    second = loop.call_at(now - 2, trace, "second")
    loop.call_at(now - 1, trace, "third")
    run_once(loop)
    trace(second.cancelled())


@scenario
def a_callback_cancels_a_timer_that_is_due_in_the_same_iteration(loop, trace):
    timer = loop.call_at(loop.time() - 1, trace, "timer")
    loop.call_soon(timer.cancel)
    run_once(loop)
    run_once(loop)
    trace(timer.cancelled())


@scenario
def a_cancelled_timer_is_as_if_it_had_never_been(loop, trace):
    now = loop.time()
    timers = [loop.call_at(now - 8 + number, trace, number) for number in range(8)]
    for number in (0, 3, 4, 7, 4):
        timers[number].cancel()
    run_once(loop)


@scenario
def a_timer_is_cancelled_after_it_has_run(loop, trace):
    timer = loop.call_later(0, trace, "runs")
    run_once(loop)
    trace(timer.cancelled())
    timer.cancel()
    trace(timer.cancelled())
    run_once(loop)


@scenario
def a_timer_made_by_a_timer_waits_for_the_next_iteration(loop, trace):
    def first():
        trace("first")
        loop.call_at(loop.time() - 2, trace, "second, due before the first")
        loop.call_soon(trace, "soon")
    loop.call_at(loop.time() - 1, first)
    run_once(loop)
    trace("-")
    run_once(loop)


@scenario
def a_timer_that_fails_is_reported_and_the_next_one_runs(loop, trace):
    def fail():
        raise Oops("oops")
    now = loop.time()
    loop.call_at(now - 2, fail)
    loop.call_at(now - 1, trace, "next")
    run_once(loop)


@scenario
@tulp_differs("design 4, One iteration: while callbacks keep coming, some batches run before the clock is asked",
              ["chain 3", "chain 2", "chain 1", "timer"], but_not_on=("foreign",))
def a_timer_among_a_chain_of_callbacks(loop, trace):
    def link(left):
        trace("chain", left)
        if left > 1:
            loop.call_soon(link, left - 1)
    def begin():
        loop.call_soon(link, 3)
        loop.call_later(0, timer)
    def timer():
        trace("timer")
        loop.call_soon(loop.stop)
    loop.call_soon(begin)
    loop.run_forever()


@scenario
def the_loop_sleeps_until_timers_are_due(loop, trace):
    start = loop.time()
    for milliseconds in (5, 1, 3):
        when = start + milliseconds / 1000
        loop.call_at(when, lambda ms=milliseconds, when=when: trace(ms, loop.time() >= when))
    loop.call_at(start + 0.007, loop.stop)
    loop.run_forever()


@scenario
def a_timer_far_away_does_not_hold_up_the_others(loop, trace):
    ran = []
    far = loop.call_later(3600, trace, "never")
    loop.call_later(0.001, ran.append, 1)
    run_until(loop, lambda: ran)
    trace("the near one ran", far.cancelled())
    far.cancel()
