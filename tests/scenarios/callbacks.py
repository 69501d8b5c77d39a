"""Immediate callbacks and their handles: semantics rows 33 and 34."""
from scenario import Oops, run_once, scenario


@scenario
def callbacks_run_in_the_order_in_which_they_were_given(loop, trace):
    for name in "abc":
        loop.call_soon(trace, name)
    trace("nothing ran yet")
    run_once(loop)


@scenario
def a_callback_ends_before_the_next_one_begins(loop, trace):
    def outer():
        trace("outer begins")
        loop.call_soon(trace, "inner")
        trace("outer ends")
    loop.call_soon(outer)
    loop.call_soon(trace, "next")
    run_once(loop)
    trace("next iteration")
    run_once(loop)


@scenario
def an_iteration_runs_exactly_what_was_there_when_it_began(loop, trace):
    def again(count):
        trace("run", count)
        loop.call_soon(again, count + 1)
    loop.call_soon(again, 1)
    for iteration in range(3):
        trace("iteration", iteration)
        run_once(loop)


@scenario
def two_chains_of_callbacks_take_turns(loop, trace):
    def link(name, left):
        trace(name, left)
        if left > 0:
            loop.call_soon(link, name, left - 1)
        elif name == "b":
            loop.stop()
    loop.call_soon(link, "a", 3)
    loop.call_soon(link, "b", 3)
    loop.run_forever()


@scenario
def a_callback_that_schedules_two_gets_them_behind_its_neighbours(loop, trace):
    def fork(name, depth):
        trace(name)
        if depth > 0:
            loop.call_soon(fork, name + "1", depth - 1)
            loop.call_soon(fork, name + "2", depth - 1)
    loop.call_soon(fork, "a", 2)
    loop.call_soon(fork, "b", 2)
    for _ in range(3):
        run_once(loop)
        trace("-")


@scenario
def a_queued_callback_is_cancelled_by_its_predecessor(loop, trace):
    def first():
        trace("first", second.cancelled())
        second.cancel()
        trace("cancelled", second.cancelled())
        second.cancel()
    loop.call_soon(first)
    second = loop.call_soon(trace, "second")
    loop.call_soon(trace, "third")
    run_once(loop)
    run_once(loop)


@scenario
def a_callback_is_cancelled_before_the_loop_runs(loop, trace):
    handle = loop.call_soon(trace, "never")
    loop.call_soon(trace, "always")
    handle.cancel()
    handle.cancel()
    run_once(loop)
    trace(handle.cancelled())


@scenario
def a_callback_cancels_its_own_handle_while_it_runs(loop, trace):
    def myself():
        trace("begins", handle.cancelled())
        handle.cancel()
        trace("ends", handle.cancelled())
    handle = loop.call_soon(myself)
    run_once(loop)
    trace("after", handle.cancelled())


@scenario
def a_handle_is_cancelled_after_its_callback_has_run(loop, trace):
    handle = loop.call_soon(trace, "runs")
    run_once(loop)
    trace("after the run", handle.cancelled())
    handle.cancel()
    trace("after the cancellation", handle.cancelled())
    run_once(loop)


@scenario
def a_callback_cancels_its_successor_and_gives_it_again(loop, trace):
    def first():
        second.cancel()
        loop.call_soon(trace, "second, again")
    loop.call_soon(first)
    second = loop.call_soon(trace, "second")
    loop.call_soon(trace, "third")
    run_once(loop)
    run_once(loop)


@scenario
def one_function_given_twice_runs_twice(loop, trace):
    def count(number):
        trace("call", number)
    handle = loop.call_soon(count, 1)
    loop.call_soon(count, 2)
    handle.cancel()
    loop.call_soon(count, 3)
    run_once(loop)


@scenario
def a_callback_that_fails_is_reported_before_the_next_one_runs(loop, trace):
    def fail():
        trace("fails")
        loop.call_soon(trace, "given by the one that failed")
        raise Oops("oops")
    loop.call_soon(fail)
    loop.call_soon(trace, "next")
    run_once(loop)
    run_once(loop)


@scenario
def callbacks_tasks_and_done_callbacks_share_one_queue(loop, trace):
    async def task(name):
        trace(name, "begins")
        loop.call_soon(trace, name, "called soon")
        future.add_done_callback(lambda _: trace(name, "heard"))
    future = loop.create_future()
    loop.call_soon(trace, "first")
    a = loop.create_task(task("a"))
    loop.call_soon(future.set_result, None)
    b = loop.create_task(task("b"))
    loop.call_soon(trace, "last")
    for _ in range(3):
        run_once(loop)
        trace("-", a.done(), b.done())
