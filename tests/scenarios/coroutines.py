"""What C++20 coroutines do on one side, Python's do on the other: semantics rows 22 to 31, 2-#2."""
import asyncio

from cancellation import ending
from gathers import mark_passes, number_after
from scenario import Oops, outcome_of, scenario


async def begun(loop, *coroutines):
    """As tasks, each of which has come to its first wait: tulp's begin when they are called."""
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return tasks


@scenario
def a_coroutine_that_is_awaited_runs_at_once_and_what_is_done_takes_no_pass(loop, trace):
    async def inner(number):
        trace("inner", number)
        return number

    async def main():
        loop.call_soon(trace, "callback")
        trace(await inner(1) + await inner(2))
        done = loop.create_future()
        done.set_result(3)
        trace(await done)
        await asyncio.sleep(0)
        trace("a pass later")
    loop.run_until_complete(main())


@scenario
def coroutines_that_await_one_future_go_on_in_the_order_in_which_they_came(loop, trace):
    future = loop.create_future()

    async def waiter(name):
        await future
        trace(name)
        await asyncio.sleep(0)
        trace(name, "again")

    async def main():
        first, = await begun(loop, waiter("first"))
        future.add_done_callback(lambda _: trace("callback"))
        second, = await begun(loop, waiter("second"))
        future.set_result(None)
        loop.call_soon(trace, "behind")
        trace("set")
        await first
        trace("heard of the first")
        await second
    loop.run_until_complete(main())


@scenario
def a_chain_of_coroutines_ends_a_link_in_each_pass(loop, trace):
    future = loop.create_future()

    async def link(name, before):
        await before
        trace(name)

    async def main():
        one, = await begun(loop, link("one", future))
        two, = await begun(loop, link("two", one))
        three, = await begun(loop, link("three", two))
        mark_passes(loop, trace, 5)
        future.set_result(None)
        await three
        trace("end")
    loop.run_until_complete(main())


@scenario
def a_cancellation_goes_down_a_chain_of_coroutines_and_comes_back_up(loop, trace):
    future = loop.create_future()

    async def link(name, before):
        try:
            await before
        except asyncio.CancelledError:
            trace(name, "cancelled")
            raise

    async def main():
        one, = await begun(loop, link("one", future))
        two, = await begun(loop, link("two", one))
        three, = await begun(loop, link("three", two))
        mark_passes(loop, trace, 4)
        three.cancel()
        trace(ending(one), ending(three), future.cancelled())
        while not three.done():
            await asyncio.sleep(0)
        trace(ending(one), ending(two), ending(three))
    loop.run_until_complete(main())


@scenario
def a_coroutine_that_was_cancelled_may_clean_up_in_its_own_time(loop, trace):
    async def body():
        cancelled = None
        try:
            await loop.create_future()
        except asyncio.CancelledError as error:
            cancelled = error
        for number in range(3):
            trace("cleaning", number)
            await asyncio.sleep(0)
        raise cancelled

    async def main():
        task, = await begun(loop, body())
        task.cancel()
        mark_passes(loop, trace, 5)
        while not task.done():
            await asyncio.sleep(0)
        trace(ending(task))
    loop.run_until_complete(main())


@scenario
def a_gather_of_coroutines_has_their_results_and_fails_with_the_first_failure(loop, trace):
    async def fail_after(passes):
        await number_after(passes, 0)
        raise Oops("oops")

    async def main():
        tasks = await begun(loop, number_after(2, 2), number_after(1, 1))
        mark_passes(loop, trace, 3)
        trace(*await asyncio.gather(*tasks))
        late, failing = await begun(loop, number_after(4, 3), fail_after(1))
        mark_passes(loop, trace, 3)
        trace(await outcome_of(asyncio.gather(late, failing)), ending(late))
        trace(await late)
    loop.run_until_complete(main())
