"""Cancellation: semantics rows 27 and 28, and 2-#13."""
import asyncio

from scenario import Oops, outcome, outcome_of, run_once, scenario, tulp_differs, python_3_13


def ending(task):
    """How a task has ended."""
    if not task.done():
        return "pending"
    return "cancelled" if task.cancelled() else outcome(task.result)


async def end_of(task):
    """How a task ends.  Asks by a future of its own: waiting for the task would say what the sides disagree on."""
    ended = asyncio.get_running_loop().create_future()
    task.add_done_callback(lambda _: ended.set_result(None))
    await ended
    return ending(task)


@scenario
def a_task_that_is_cancelled_before_its_first_step_never_runs(loop, trace):
    async def body():
        trace("never")
    async def main():
        task = loop.create_task(body())
        task.add_done_callback(lambda t: trace("callback", t.cancelled()))
        trace("cancel", task.cancel(), task.done(), task.cancelling())
        loop.call_soon(trace, "behind its step")
        await asyncio.sleep(0)
        trace("one iteration later", ending(task))
        await asyncio.sleep(0)
    loop.run_until_complete(main())


@scenario
def a_callback_ahead_in_the_queue_cancels_a_task_before_its_first_step(loop, trace):
    async def body():
        trace("never")
    tasks = []
    loop.call_soon(lambda: trace("cancel", tasks[0].cancel()))
    tasks.append(loop.create_task(body()))
    run_once(loop)
    trace(ending(tasks[0]))


@scenario
def a_parked_task_is_cancelled_with_what_it_waits_for(loop, trace):
    future = loop.create_future()
    async def body():
        try:
            await future
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        loop.call_soon(trace, "given before")
        trace("cancel", task.cancel())
        loop.call_soon(trace, "given behind")
        trace("future cancelled", future.cancelled(), "task done", task.done())
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_sleeping_task_is_cancelled_in_the_next_iteration(loop, trace):
    async def body():
        try:
            await asyncio.sleep(3600)
        finally:
            trace("wakes")
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        loop.call_soon(trace, "given before")
        task.cancel()
        loop.call_soon(trace, "given behind")
        trace("cancelled, still", ending(task))
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_runnable_task_is_cancelled_in_its_turn(loop, trace):
    async def body():
        try:
            await asyncio.sleep(0)
            trace("never")
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        loop.call_soon(trace, "given before")
        task.cancel()
        trace("cancelled, still", ending(task))
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def tasks_hear_of_their_cancellation_in_the_order_of_the_requests(loop, trace):
    async def body(name):
        try:
            await asyncio.sleep(3600)
        finally:
            trace(name)
    async def main():
        tasks = {name: loop.create_task(body(name)) for name in "abc"}
        await asyncio.sleep(0)
        for name in "cab":
            tasks[name].cancel()
        for name in "abc":
            trace(name, await end_of(tasks[name]))
    loop.run_until_complete(main())


@scenario
def two_requests_at_once_are_one_error(loop, trace):
    async def body(park):
        for _ in range(2):
            try:
                await park()
                trace("parked and went on")
            except asyncio.CancelledError:
                trace("CancelledError", asyncio.current_task().cancelling())
    async def main():
        future = loop.create_future()
        for park in (lambda: asyncio.sleep(0.001), lambda: asyncio.sleep(0),
                     lambda: outcome_when_done(future)):
            task = loop.create_task(body(park))
            await asyncio.sleep(0)
            trace(task.cancel(), task.cancel())
            trace(await end_of(task))
    async def outcome_when_done(future):
        if not future.done():
            await future
    loop.run_until_complete(main())


@scenario
def a_request_after_the_delivery_is_a_second_error(loop, trace):
    async def body():
        for _ in range(2):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                trace("CancelledError", asyncio.current_task().cancelling())
        return "ends"
    async def main():
        task = loop.create_task(body())
        for _ in range(2):
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_cancellation_that_is_swallowed_is_not_repeated(loop, trace):
    async def body():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("swallowed")
        await asyncio.sleep(0)
        trace("goes on")
        return "value"
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        trace(await end_of(task), task.cancelling())
    loop.run_until_complete(main())


@scenario
def a_cancellation_may_be_answered_with_another_error(loop, trace):
    async def body():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise Oops("oops")
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def cancel_of_a_task_that_has_ended_is_refused(loop, trace):
    async def body():
        return "value"
    async def main():
        task = loop.create_task(body())
        await task
        trace("cancel", task.cancel(), ending(task), task.cancelling())
        task = loop.create_task(asyncio.sleep(3600))
        task.cancel()
        trace(await end_of(task))
        trace("cancel", task.cancel(), ending(task), task.cancelling())
    loop.run_until_complete(main())


# The result and the request in one iteration.

@scenario
@tulp_differs("design 4, Cancellation: a result that is there wins; the cancellation comes at the next park",
              ["cancel True", "has the value", "CancelledError", "cancelled"])
def a_cancellation_behind_the_result(loop, trace):
    future = loop.create_future()
    async def body():
        try:
            trace("has", await future)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        future.set_result("the value")
        trace("cancel", task.cancel())
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
@tulp_differs("design 4, Cancellation: a result that is there wins, and with it the task's own",
              ["cancel True", "value 1 1"])
def a_cancellation_behind_the_result_of_a_task_that_parks_no_more(loop, trace):
    future = loop.create_future()
    async def body():
        return "value", await future
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        future.set_result(1)
        trace("cancel", task.cancel())
        end = await end_of(task)
        trace(end if isinstance(end, str) else " ".join(map(str, end)), task.cancelling())
    loop.run_until_complete(main())


@scenario
def a_result_behind_the_cancellation_is_refused(loop, trace):
    future = loop.create_future()
    task = loop.create_task(wait_for(future))
    async def main():
        await asyncio.sleep(0)
        trace("cancel", task.cancel())
        trace("set_result", outcome(lambda: future.set_result(1)))
        trace(await end_of(task))
    loop.run_until_complete(main())


async def wait_for(future):
    return await future


@scenario
def a_task_and_its_future_are_cancelled_at_once(loop, trace):
    future = loop.create_future()
    async def main():
        task = loop.create_task(wait_for(future))
        await asyncio.sleep(0)
        trace("task", task.cancel(), "future", future.cancel())
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
@tulp_differs("design 4, Cancellation: a result that is there wins; the cancellation comes at the next park",
              ["callback cancels True", "has value", "CancelledError", "cancelled"])
def a_task_is_cancelled_by_the_future_that_it_waits_for(loop, trace):
    future = loop.create_future()
    async def body():
        trace("has", await future)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        task = loop.create_task(body())
        future.add_done_callback(lambda _: trace("callback cancels", task.cancel()))
        await asyncio.sleep(0)
        loop.call_soon(future.set_result, "value")
        trace(await end_of(task))
    loop.run_until_complete(main())


# Oneself.

@scenario
def a_task_that_cancels_itself_and_returns_ends_cancelled(loop, trace):
    async def body():
        trace("cancel", asyncio.current_task().cancel())
        return "value"
    async def main():
        trace(await end_of(loop.create_task(body())))
    loop.run_until_complete(main())


@scenario
def a_task_that_cancels_itself_hears_of_it_an_iteration_after_it_parks(loop, trace):
    async def body(park):
        asyncio.current_task().cancel()
        loop.call_soon(trace, "called soon")
        try:
            await park()
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        future = loop.create_future()
        trace(await end_of(loop.create_task(body(lambda: asyncio.sleep(0)))))
        trace(await end_of(loop.create_task(body(lambda: asyncio.sleep(3600)))))
        trace(await end_of(loop.create_task(body(lambda: wait_for(future)))), future.cancelled())
    loop.run_until_complete(main())


@scenario
def a_task_that_cancels_itself_may_wait_for_what_is_done(loop, trace):
    done = loop.create_future()
    done.set_result("value")
    async def body():
        asyncio.current_task().cancel()
        trace(await done)
        await asyncio.sleep(0)
        trace("never")
    async def main():
        trace(await end_of(loop.create_task(body())))
    loop.run_until_complete(main())


@scenario
def a_task_that_cancelled_itself_cancels_the_child_that_it_waits_for(loop, trace):
    async def child():
        try:
            trace("child begins")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("child cancelled")
            await asyncio.sleep(0)
            trace("child ends")
            raise
    async def body():
        task = loop.create_task(child())
        await asyncio.sleep(0)
        asyncio.current_task().cancel()
        try:
            await task
        finally:
            trace("parent, child done:", task.done())
    async def main():
        trace(await end_of(loop.create_task(body())))
    loop.run_until_complete(main())


# Those who wait for each other.

@scenario
def a_cancellation_goes_down_the_chain_and_comes_back_up(loop, trace):
    async def link(depth):
        try:
            await (loop.create_task(link(depth - 1)) if depth > 0 else asyncio.sleep(3600))
        finally:
            trace("link", depth)
    def tick(left):
        trace("-")
        if left > 0:
            loop.call_soon(tick, left - 1)
    async def main():
        task = loop.create_task(link(2))
        for _ in range(4):
            await asyncio.sleep(0)
        loop.call_soon(tick, 4)
        trace("cancel", task.cancel())
        trace(await end_of(task))
    loop.run_until_complete(main())
    run_once(loop)


@scenario
def a_message_goes_with_the_cancellation(loop, trace):
    async def link(depth):
        try:
            await (loop.create_task(link(depth - 1)) if depth > 0 else asyncio.sleep(3600))
        except asyncio.CancelledError as error:
            trace("link", depth, *error.args)
            raise
    async def main():
        task = loop.create_task(link(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel("enough")
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_child_that_swallows_the_cancellation_gives_its_parent_a_value(loop, trace):
    async def child():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("swallowed")
        return "value"
    async def parent():
        value = await loop.create_task(child())
        trace("parent has", value, asyncio.current_task().cancelling())
        await asyncio.sleep(0)
        return value
    async def main():
        task = loop.create_task(parent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_child_that_answers_with_an_error_gives_its_parent_that(loop, trace):
    async def child():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise Oops("oops")
    async def parent():
        await loop.create_task(child())
    async def main():
        task = loop.create_task(parent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_parent_is_cancelled_whose_child_has_not_begun(loop, trace):
    async def child():
        trace("never")
    async def parent():
        try:
            await loop.create_task(child())
        finally:
            trace("parent")
    async def main():
        task = loop.create_task(parent())
        loop.call_soon(lambda: trace("cancel", task.cancel()))
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
@tulp_differs("semantics row 28: the parent was not cancelled, and can tell",
              ["parent FutureCancelledError", "cancelling 0", "parent goes on"])
def a_child_is_cancelled_by_somebody_else(loop, trace):
    async def parent(child):
        trace("parent", await outcome_of(child))
        trace("cancelling", asyncio.current_task().cancelling())
        await asyncio.sleep(0)
        trace("parent goes on")
    async def main():
        child = loop.create_task(asyncio.sleep(3600))
        task = loop.create_task(parent(child))
        await asyncio.sleep(0)
        child.cancel()
        await end_of(task)
    loop.run_until_complete(main())


@scenario
@tulp_differs("semantics row 27: the wait is cancelled, not the future that others wait for too",
              ["future cancelled False", "one cancelled", "other value"])
def one_of_two_waiters_is_cancelled(loop, trace):
    future = loop.create_future()
    async def main():
        one = loop.create_task(wait_for(future))
        other = loop.create_task(wait_for(future))
        await asyncio.sleep(0)
        one.cancel()
        trace("future cancelled", future.cancelled())
        trace("one", await end_of(one))
        if not future.done():
            future.set_result("value")
        trace("other", await end_of(other))
    loop.run_until_complete(main())


@scenario
@tulp_differs("design 4, Cancellation: a done callback waits too",
              ["future cancelled False", "cancelled", "callback value"])
def a_waiter_is_cancelled_beside_a_done_callback(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda f: trace("callback", "cancelled" if f.cancelled() else f.result()))
    async def main():
        task = loop.create_task(wait_for(future))
        await asyncio.sleep(0)
        task.cancel()
        trace("future cancelled", future.cancelled())
        trace(await end_of(task))
        if not future.done():
            future.set_result("value")
        await asyncio.sleep(0)
    loop.run_until_complete(main())


@scenario
def both_waiters_of_a_future_are_cancelled(loop, trace):
    future = loop.create_future()
    async def body(name):
        try:
            await future
        finally:
            trace(name)
    async def main():
        tasks = [loop.create_task(body(name)) for name in ("one", "other")]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for task in tasks:
            trace(await end_of(task))
    loop.run_until_complete(main())


# While cleaning up.

@scenario
def a_handler_may_park_and_is_cancelled_by_a_second_request(loop, trace):
    async def body():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("cleans up")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                trace("cancelled again")
            raise
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        trace("cleaning up", ending(task))
        task.cancel()
        trace(await end_of(task), task.cancelling())
    loop.run_until_complete(main())


@scenario
@tulp_differs("design 4, Cancellation: it is deferred while an exception unwinds the stack",
              ["cleans up", "cleaned up", "cancelled"])
def a_second_request_while_the_stack_unwinds(loop, trace):
    async def body():
        try:
            await asyncio.sleep(3600)
        finally:
            trace("cleans up")
            for _ in range(3):
                await asyncio.sleep(0)
            trace("cleaned up")
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        trace(await end_of(task))
    loop.run_until_complete(main())


# Counting.

@scenario
def requests_are_counted_and_taken_back(loop, trace):
    async def body():
        me = asyncio.current_task()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("cancelling", me.cancelling())
            trace("uncancel", me.uncancel(), me.uncancel(), me.uncancel())
        await asyncio.sleep(0)
        return "value"
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        trace(await end_of(task), task.cancelling())
    loop.run_until_complete(main())


@scenario
@python_3_13("semantics row 2-#13: with the last request goes an error that is not delivered yet",
             ["uncancel 0", "goes on", "value 0"])
def a_request_that_is_taken_back_is_not_delivered(loop, trace):
    async def body():
        me = asyncio.current_task()
        me.cancel()
        trace("uncancel", me.uncancel())
        await asyncio.sleep(0)
        trace("goes on")
        return "value"
    async def main():
        task = loop.create_task(body())
        trace(await end_of(task), task.cancelling())
    loop.run_until_complete(main())


@scenario
def one_of_two_requests_is_taken_back(loop, trace):
    async def body():
        me = asyncio.current_task()
        me.cancel()
        me.cancel()
        trace("uncancel", me.uncancel())
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            trace("CancelledError")
        return "value"
    async def main():
        task = loop.create_task(body())
        trace(await end_of(task), task.cancelling())
    loop.run_until_complete(main())


@scenario
def a_body_may_throw_cancelled_error_by_itself(loop, trace):
    async def body():
        raise asyncio.CancelledError
    async def main():
        task = loop.create_task(body())
        trace(await end_of(task), task.cancelling())
    loop.run_until_complete(main())
