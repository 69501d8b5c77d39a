"""Futures: semantics rows 13 to 21 and 30."""
import asyncio

from scenario import Oops, name_of, outcome, outcome_of, run_once, scenario, tulp_differs


@scenario
def a_pending_future_has_neither_result_nor_exception(loop, trace):
    future = loop.create_future()
    trace(future.done(), future.cancelled())
    trace("result:", outcome(future.result))
    trace("exception:", outcome(future.exception))


@scenario
def a_result_is_set_once(loop, trace):
    future = loop.create_future()
    future.set_result(1)
    trace("set_result:", outcome(lambda: future.set_result(2)))
    trace("set_exception:", outcome(lambda: future.set_exception(Oops("oops"))))
    trace("cancel:", future.cancel())
    trace("result:", future.result(), future.result())
    trace("exception:", future.exception())


@scenario
def an_exception_is_set_once_and_thrown_each_time(loop, trace):
    future = loop.create_future()
    future.set_exception(Oops("oops"))
    trace("set_result:", outcome(lambda: future.set_result(2)))
    trace("cancel:", future.cancel(), future.cancelled())
    trace("result:", outcome(future.result))
    trace("result:", outcome(future.result))
    trace("exception:", name_of(future.exception()))


@scenario
@tulp_differs("semantics row 28: what was cancelled is not the one who asks",
              ["cancel: True False", "done True True", "result: FutureCancelledError", "set_result: InvalidStateError"])
def a_cancelled_future_stays_cancelled(loop, trace):
    future = loop.create_future()
    trace("cancel:", future.cancel(), future.cancel())
    trace("done", future.done(), future.cancelled())
    try:
        future.result()
    except asyncio.CancelledError as error:
        trace("result:", name_of(error))
    trace("set_result:", outcome(lambda: future.set_result(1)))


@scenario
def done_callbacks_are_called_soon_in_the_order_of_their_adding(loop, trace):
    future = loop.create_future()
    for name in "abc":
        future.add_done_callback(lambda f, name=name: trace(name, f.result()))
    loop.call_soon(trace, "given before")
    future.set_result(1)
    trace("set")
    loop.call_soon(trace, "given behind")
    run_once(loop)


@scenario
def a_done_callback_of_a_done_future_is_called_soon_as_well(loop, trace):
    future = loop.create_future()
    future.set_result(1)
    loop.call_soon(trace, "before")
    future.add_done_callback(lambda f: trace("done callback", f.result()))
    trace("added")
    loop.call_soon(trace, "behind")
    run_once(loop)


@scenario
def a_done_callback_that_is_added_twice_runs_twice(loop, trace):
    future = loop.create_future()
    def heard(_):
        trace("heard")
    future.add_done_callback(heard)
    future.add_done_callback(heard)
    future.set_result(1)
    run_once(loop)


@scenario
def a_done_callback_that_is_added_while_they_run_waits_for_the_next_iteration(loop, trace):
    future = loop.create_future()
    def first(f):
        trace("first")
        f.add_done_callback(lambda _: trace("added"))
    future.add_done_callback(first)
    future.add_done_callback(lambda _: trace("second"))
    future.set_result(1)
    run_once(loop)
    trace("-")
    run_once(loop)


@scenario
def a_done_callback_that_is_taken_back_does_not_run(loop, trace):
    future = loop.create_future()
    def taken(_):
        trace("never")
    future.add_done_callback(lambda _: trace("first"))
    future.add_done_callback(taken)
    future.add_done_callback(lambda _: trace("third"))
    trace("there:", future.remove_done_callback(taken) > 0)
    trace("there:", future.remove_done_callback(taken) > 0)
    future.set_result(1)
    run_once(loop)


@scenario
def a_queued_done_callback_cannot_be_taken_back(loop, trace):
    future = loop.create_future()
    def heard(_):
        trace("heard")
    future.add_done_callback(heard)
    future.set_result(1)
    trace("there:", future.remove_done_callback(heard) > 0)
    run_once(loop)


@scenario
def a_done_callback_that_fails_is_reported_and_the_others_run(loop, trace):
    future = loop.create_future()
    def fail(_):
        raise Oops("oops")
    future.add_done_callback(lambda _: trace("first"))
    future.add_done_callback(fail)
    future.add_done_callback(lambda _: trace("third"))
    future.set_result(1)
    run_once(loop)


@scenario
def cancel_of_a_future_schedules_its_callbacks(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda f: trace("heard", f.cancelled()))
    loop.call_soon(trace, "before")
    future.cancel()
    trace("cancelled", future.cancelled())
    run_once(loop)


@scenario
def a_future_that_completes_another_takes_an_iteration_for_each_link(loop, trace):
    first, second, third = (loop.create_future() for _ in range(3))
    first.add_done_callback(lambda f: (trace("first"), second.set_result(f.result() + 1)))
    second.add_done_callback(lambda f: (trace("second"), third.set_result(f.result() + 1)))
    third.add_done_callback(lambda f: trace("third", f.result()))
    loop.call_soon(first.set_result, 1)
    for _ in range(4):
        trace("-")
        run_once(loop)


@scenario
def a_done_callback_completes_a_future_that_its_neighbour_waits_for(loop, trace):
    one, other = loop.create_future(), loop.create_future()
    one.add_done_callback(lambda _: (trace("one, first"), other.set_result(None)))
    one.add_done_callback(lambda _: trace("one, second", other.done()))
    other.add_done_callback(lambda _: trace("other"))
    one.set_result(None)
    run_once(loop)
    trace("-")
    run_once(loop)


# Waiting.

@scenario
def waiters_and_done_callbacks_stand_in_one_line(loop, trace):
    future = loop.create_future()
    async def waiter(name):
        trace(name, await future)
    async def main():
        future.add_done_callback(lambda _: trace("callback 1"))
        first = loop.create_task(waiter("waiter 1"))
        await asyncio.sleep(0)
        future.add_done_callback(lambda _: trace("callback 2"))
        second = loop.create_task(waiter("waiter 2"))
        await asyncio.sleep(0)
        future.add_done_callback(lambda _: trace("callback 3"))
        future.set_result(5)
        trace("set")
        await first
        await second
    loop.run_until_complete(main())


@scenario
def waiting_for_a_done_future_does_not_switch(loop, trace):
    async def main():
        future = loop.create_future()
        future.set_result(1)
        loop.call_soon(trace, "soon")
        trace("value", await future)
        failed = loop.create_future()
        failed.set_exception(Oops("oops"))
        trace("failure", await outcome_of(failed))
        await asyncio.sleep(0)
        trace("end")
    loop.run_until_complete(main())


@scenario
def a_waiter_goes_on_in_its_turn_after_the_result(loop, trace):
    future = loop.create_future()
    async def waiter():
        trace("waits")
        trace("has", await future)
    async def main():
        task = loop.create_task(waiter())
        await asyncio.sleep(0)
        loop.call_soon(trace, "given before the result")
        future.set_result("it")
        loop.call_soon(trace, "given behind the result")
        trace("set")
        await task
        trace("end")
    loop.run_until_complete(main())


@scenario
def all_waiters_get_the_result_first_come_first_served(loop, trace):
    future = loop.create_future()
    async def waiter(number):
        trace(number, await future)
        await asyncio.sleep(0)
        trace(number, "again", await future)
    async def main():
        tasks = [loop.create_task(waiter(number)) for number in range(3)]
        await asyncio.sleep(0)
        future.set_result("value")
        for task in tasks:
            await task
    loop.run_until_complete(main())


@scenario
def all_waiters_get_the_exception(loop, trace):
    future = loop.create_future()
    async def waiter(number):
        trace(number, await outcome_of(future))
    async def main():
        tasks = [loop.create_task(waiter(number)) for number in range(3)]
        await asyncio.sleep(0)
        future.set_exception(Oops("oops"))
        for task in tasks:
            await task
    loop.run_until_complete(main())


@scenario
@tulp_differs("semantics row 28: who waits for what somebody else cancelled is not cancelled himself",
              ["waiter FutureCancelledError", "cancelling 0"])
def a_waiter_hears_that_somebody_else_cancelled_the_future(loop, trace):
    future = loop.create_future()
    async def waiter():
        trace("waiter", await outcome_of(future))
        trace("cancelling", asyncio.current_task().cancelling())
    async def main():
        task = loop.create_task(waiter())
        await asyncio.sleep(0)
        future.cancel()
        await task
    loop.run_until_complete(main())


@scenario
@tulp_differs("semantics row 28: FutureCancelledError is an ordinary failure", ["main got it", "callback failed"])
def a_task_that_lets_the_cancellation_of_its_future_pass(loop, trace):
    future = loop.create_future()
    async def waiter():
        await future
    async def main():
        task = loop.create_task(waiter())
        task.add_done_callback(lambda t: trace("callback", "cancelled" if t.cancelled() else "failed"))
        await asyncio.sleep(0)
        future.cancel()
        await asyncio.sleep(0)
        try:
            await task
        except asyncio.CancelledError:
            trace("main got it")
    loop.run_until_complete(main())


@scenario
def two_tasks_play_ping_pong(loop, trace):
    async def player(name, mine, others):
        for number in range(3):
            await mine[number]
            trace(name, number)
            if number < len(others):
                others[number].set_result(None)
    async def main():
        ping = [loop.create_future() for _ in range(3)]
        pong = [loop.create_future() for _ in range(3)]
        first = loop.create_task(player("ping", ping, pong))
        second = loop.create_task(player("pong", pong, ping[1:]))
        loop.call_soon(trace, "before")
        ping[0].set_result(None)
        await first
        await second
    loop.run_until_complete(main())


# Exceptions of which nobody took note.

@scenario
def a_failure_that_nobody_asked_for_is_reported_when_the_future_dies(loop, trace):
    future = loop.create_future()
    future.set_exception(Oops("oops"))
    trace("set")
    future = loop.create_future()
    trace("dropped")


@scenario
def a_failure_that_somebody_took_note_of_is_not_reported(loop, trace):
    async def waiter(future):
        await outcome_of(future)
    for take_note in (lambda f: outcome(f.result), lambda f: f.exception(), lambda f: f.cancel(),
                      lambda f: loop.run_until_complete(waiter(f))):
        future = loop.create_future()
        future.set_exception(Oops("oops"))
        take_note(future)
        future = None
        trace("dropped")


@scenario
def a_done_callback_that_does_not_look_takes_no_note(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda _: trace("heard"))
    future.set_exception(Oops("oops"))
    future = None
    trace("dropped by us")
    run_once(loop)
    trace("end")


@scenario
def a_pending_future_is_dropped_without_a_word(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda _: trace("never"))
    future = loop.create_future()
    future.cancel()
    future = None
    run_once(loop)
    trace("end")
