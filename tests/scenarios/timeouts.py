"""Time limits: semantics row 2-#7.  asyncio's `async with timeout(d)` is with_timeout(d, function) in tulp."""
import asyncio

from scenario import Oops, outcome_of, scenario, tulp_differs
from tasks import let_pass


async def with_timeout(limit, function):
    async with asyncio.timeout(limit):
        return await function()


async def forever():
    await asyncio.sleep(3600)


@scenario
def what_ends_in_time_gives_its_value(loop, trace):
    async def value():
        await asyncio.sleep(0)
        return "value"
    async def main():
        trace(await with_timeout(3600, value))
    loop.run_until_complete(main())


@scenario
def what_does_not_end_is_cancelled_and_cleans_up_first(loop, trace):
    async def slow():
        try:
            await forever()
        except asyncio.CancelledError:
            trace("CancelledError", asyncio.current_task().cancelling())
            await asyncio.sleep(0)
            trace("cleaned up")
            raise
    async def main():
        trace(await outcome_of(with_timeout(0.001, slow)), asyncio.current_task().cancelling())
    loop.run_until_complete(main())


@scenario
def an_error_in_time_passes(loop, trace):
    async def fail():
        raise Oops("oops")
    async def main():
        trace(await outcome_of(with_timeout(3600, fail)))
    loop.run_until_complete(main())


@scenario
def the_inner_of_two_limits(loop, trace):
    async def inner():
        trace("inner", await outcome_of(with_timeout(0.001, forever)))
        return "goes on"
    async def main():
        trace("outer", await outcome_of(with_timeout(3600, inner)))
    loop.run_until_complete(main())


@scenario
def the_outer_of_two_limits(loop, trace):
    async def inner():
        try:
            await with_timeout(3600, forever)
        except asyncio.CancelledError:
            trace("inner CancelledError")
            raise
    async def main():
        trace("outer", await outcome_of(with_timeout(0.001, inner)))
    loop.run_until_complete(main())


@scenario
def two_limits_that_pass_at_once(loop, trace):
    async def inner():
        trace("inner", await outcome_of(with_timeout(0.001, forever)))
        return "goes on"
    async def both():
        trace("outer", await outcome_of(with_timeout(0.001, inner)), asyncio.current_task().cancelling())
    async def main():
        task = loop.create_task(both())
        await asyncio.sleep(0)
        let_pass(loop, 0.003)
        await task
    loop.run_until_complete(main())


@scenario
def no_time_at_all_passes_at_the_first_park(loop, trace):
    async def value():
        return "value"
    async def main():
        trace(await outcome_of(with_timeout(0, value)))
        trace(await outcome_of(with_timeout(0, forever)))
        trace(await outcome_of(with_timeout(-1, forever)))
        trace(asyncio.current_task().cancelling())
    loop.run_until_complete(main())


@scenario
def a_cancellation_from_outside_is_no_timeout(loop, trace):
    async def body():
        try:
            await with_timeout(3600, forever)
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        trace(task.cancelled())
    loop.run_until_complete(main())


@scenario
def a_cancellation_from_outside_together_with_a_timeout_is_no_timeout(loop, trace):
    async def body():
        try:
            await with_timeout(0.001, forever)
        except asyncio.CancelledError:
            trace("CancelledError")
            raise
    async def main():
        task = loop.create_task(body())
        await asyncio.sleep(0)
        let_pass(loop, 0.002)
        loop.call_later(0, task.cancel)
        await asyncio.sleep(0.001)
        trace(task.cancelled())
    loop.run_until_complete(main())


@scenario
def a_body_that_swallows_the_cancellation_ends_in_time(loop, trace):
    async def stubborn():
        try:
            await forever()
        except asyncio.CancelledError:
            trace("swallowed")
        return "value"
    async def main():
        trace(await outcome_of(with_timeout(0.001, stubborn)), asyncio.current_task().cancelling())
        await asyncio.sleep(0)
        trace("goes on")
    loop.run_until_complete(main())


@scenario
def a_limit_that_passes_together_with_the_sleep_it_limits(loop, trace):
    async def short_sleep():
        await asyncio.sleep(0.001)
        return "value"
    async def sleeper():
        trace(await outcome_of(with_timeout(0.001, short_sleep)))
    async def main():
        task = loop.create_task(sleeper())
        await asyncio.sleep(0)
        let_pass(loop, 0.003)
        await task
    loop.run_until_complete(main())


@scenario
def a_limit_cancels_the_task_that_is_waited_for(loop, trace):
    async def child():
        try:
            await forever()
        finally:
            trace("child")
    async def wait():
        task = loop.create_task(child())
        try:
            await task
        finally:
            trace("waiter, child done:", task.done())
    async def main():
        trace(await outcome_of(with_timeout(0.001, wait)))
    loop.run_until_complete(main())
