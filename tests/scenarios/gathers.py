"""gather, wait, as_completed, shield and TaskGroup: semantics rows 2-#2 to 2-#8."""
import asyncio

from cancellation import end_of, ending
from scenario import Oops, outcome_of, scenario, tulp_differs


async def number_after(passes, number):
    for _ in range(passes):
        await asyncio.sleep(0)
    return number


async def fail_after(passes, text="oops"):
    for _ in range(passes):
        await asyncio.sleep(0)
    raise Oops(text)


async def end_slowly(trace, name, passes):
    """Waits to be cancelled, and takes some passes to clean up then."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        for _ in range(passes):
            await asyncio.sleep(0)
        trace(name, "cleaned up")
        raise


def mark_passes(loop, trace, count):
    """Traces the next passes of the loop."""
    def mark(number):
        trace("pass", number)
        if number < count:
            loop.call_soon(mark, number + 1)
    loop.call_soon(mark, 1)


@scenario
def a_gather_is_done_in_the_pass_after_its_last_child(loop, trace):
    async def main():
        tasks = [loop.create_task(number_after(passes, passes)) for passes in (3, 1, 2)]
        mark_passes(loop, trace, 7)
        trace(*await asyncio.gather(*tasks))
    loop.run_until_complete(main())


@scenario
def a_gather_fails_with_the_first_failure_and_the_others_go_on(loop, trace):
    async def main():
        late = loop.create_task(number_after(5, "late"))
        failing = loop.create_task(fail_after(1))
        mark_passes(loop, trace, 4)
        trace(await outcome_of(asyncio.gather(late, failing)), ending(late))
        trace(await late)
    loop.run_until_complete(main())


@scenario
def losers_of_a_gather_are_not_reported(loop, trace):
    async def main():
        tasks = [loop.create_task(fail_after(passes, f"oops {passes}")) for passes in (3, 1, 2)]
        trace(await outcome_of(asyncio.gather(*tasks)))
        tasks.clear()
        await number_after(5, None)
    loop.run_until_complete(main())


@scenario
def a_gather_of_what_is_done_takes_a_pass(loop, trace):
    async def main():
        done = loop.create_future()
        done.set_result("value")
        gathered = asyncio.gather(done, done)
        trace(gathered.done())
        mark_passes(loop, trace, 3)
        trace(*await gathered)
    loop.run_until_complete(main())


@scenario
def a_gather_of_a_cancelled_child_is_not_cancelled_itself(loop, trace):
    async def main():
        child = loop.create_task(number_after(9, None))
        other = loop.create_task(number_after(3, "other"))
        gathered = asyncio.gather(child, other)
        await asyncio.sleep(0)
        child.cancel()
        while not gathered.done():
            await asyncio.sleep(0)
        trace(gathered.cancelled(), ending(child), await other)
        try:
            gathered.exception()
        except asyncio.CancelledError:
            pass
    loop.run_until_complete(main())


@scenario
@tulp_differs("design.md: a gather that was cancelled is cancelled; asyncio's has failed with a CancelledError",
              ["cancel True False", "a cleaned up", "b cleaned up", "True cancelled cancelled False"])
def cancelling_a_gather_cancels_its_children(loop, trace):
    async def main():
        tasks = [loop.create_task(end_slowly(trace, name, 0)) for name in "ab"]
        gathered = asyncio.gather(*tasks)
        await asyncio.sleep(0)
        trace("cancel", gathered.cancel(), gathered.done())
        while not gathered.done():
            await asyncio.sleep(0)
        trace(gathered.cancelled(), ending(tasks[0]), ending(tasks[1]), gathered.cancel())
    loop.run_until_complete(main())


@scenario
@tulp_differs("design.md: who cancels waits until everything that it cancelled has ended",
              ["quick cleaned up", "slow cleaned up", "main's task is done", "cancelled cancelled"])
def the_waiter_of_a_cancelled_gather_goes_on_with(loop, trace):
    async def main():
        tasks = [loop.create_task(end_slowly(trace, "slow", 5)), loop.create_task(end_slowly(trace, "quick", 0))]
        async def wait():
            await asyncio.gather(*tasks)
        waiting = loop.create_task(wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await end_of(waiting)
        trace("main's task is done")
        trace(await end_of(tasks[0]), ending(tasks[1]))
    loop.run_until_complete(main())


@scenario
def wait_returns_in_the_pass_after_the_last_end(loop, trace):
    async def main():
        tasks = [loop.create_task(number_after(passes, passes)) for passes in (2, 1)]
        mark_passes(loop, trace, 6)
        done, pending = await asyncio.wait(tasks)
        trace(len(done), len(pending))
    loop.run_until_complete(main())


@scenario
def wait_for_the_first_that_ends_and_for_the_first_that_fails(loop, trace):
    async def main():
        tasks = [loop.create_task(number_after(4, 1)), loop.create_task(number_after(1, 2)),
                 loop.create_task(fail_after(3)), loop.create_task(number_after(9, 3))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        trace(len(done), len(pending))
        tasks[3].cancel()
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        trace(len(done), len(pending), *(ending(task) for task in tasks))
        await asyncio.wait(tasks)
    loop.run_until_complete(main())


@scenario
def wait_with_a_limit_cancels_nothing(loop, trace):
    async def main():
        task = loop.create_task(asyncio.sleep(3600))
        done, pending = await asyncio.wait([task], timeout=0.001)
        trace(len(done), len(pending), task.cancelling())
        done, pending = await asyncio.wait([task], timeout=0)
        trace(len(done), len(pending))
        task.cancel()
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_shield_takes_the_cancellation_for_what_is_behind_it(loop, trace):
    async def main():
        inner = loop.create_task(number_after(4, "inner"))
        async def wait():
            await asyncio.shield(inner)
        waiting = loop.create_task(wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        trace(await end_of(waiting), inner.cancelling())
        trace(await inner)
    loop.run_until_complete(main())


@scenario
def a_shield_ends_one_pass_after_what_is_behind_it(loop, trace):
    async def main():
        inner = loop.create_task(number_after(2, "inner"))
        mark_passes(loop, trace, 6)
        trace(await asyncio.shield(inner))
        trace(asyncio.shield(inner).done())
    loop.run_until_complete(main())


@scenario
def the_failure_behind_a_cancelled_shield_is_reported(loop, trace):
    async def main():
        outer = asyncio.shield(loop.create_task(fail_after(2)))
        outer.cancel()
        await number_after(5, None)
    loop.run_until_complete(main())


@scenario
def wait_for_in_time_and_too_late(loop, trace):
    async def main():
        trace(await asyncio.wait_for(loop.create_task(number_after(2, "value")), 3600))
        slow = loop.create_task(end_slowly(trace, "slow", 3))
        trace(await outcome_of(asyncio.wait_for(slow, 0.001)), ending(slow))
        never = loop.create_task(end_slowly(trace, "never", 0))
        trace(await outcome_of(asyncio.wait_for(never, 0)), ending(never))
        trace(asyncio.current_task().cancelling())
    loop.run_until_complete(main())


async def in_group(body):
    """How a task group ends: how many have failed, or None."""
    try:
        async with asyncio.TaskGroup() as group:
            await body(group)
    except BaseExceptionGroup as errors:
        return len(errors.exceptions)
    return None


@scenario
def a_group_waits_for_its_tasks_and_for_theirs(loop, trace):
    async def main():
        async def body(group):
            async def parent():
                await asyncio.sleep(0)
                group.create_task(child())
                trace("parent ends")
            async def child():
                await number_after(3, None)
                trace("child ends")
            group.create_task(parent())
            trace("body ends")
        trace(await in_group(body))
    loop.run_until_complete(main())


@scenario
def the_first_failure_in_a_group_cancels_siblings_and_body(loop, trace):
    async def main():
        async def body(group):
            group.create_task(end_slowly(trace, "sibling", 2))
            group.create_task(fail_after(1))
            await end_slowly(trace, "body", 0)
        trace(await in_group(body), asyncio.current_task().cancelling())
        await asyncio.sleep(0)
    loop.run_until_complete(main())


@scenario
def all_failures_of_a_group_are_counted(loop, trace):
    async def main():
        async def fail_in_answer():
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                raise Oops("in answer") from None
        async def body(group):
            group.create_task(fail_in_answer())
            group.create_task(fail_after(1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise Oops("body")
        trace(await in_group(body))
    loop.run_until_complete(main())


@scenario
def a_group_takes_no_task_when_it_is_ending(loop, trace):
    async def main():
        async def body(group):
            group.create_task(fail_after(0))
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                coroutine = number_after(0, None)
                try:
                    group.create_task(coroutine)
                except RuntimeError:
                    trace("refused")
                coroutine.close()
                raise
        trace(await in_group(body))
    loop.run_until_complete(main())


@scenario
def a_cancellation_from_outside_goes_through_a_group(loop, trace):
    async def main():
        async def body(group):
            group.create_task(end_slowly(trace, "task", 3))
            await end_slowly(trace, "body", 0)
        async def outer():
            try:
                await in_group(body)
            except asyncio.CancelledError:
                trace("outer CancelledError", asyncio.current_task().cancelling())
                raise
        task = loop.create_task(outer())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        trace(await end_of(task))
    loop.run_until_complete(main())


@scenario
def a_cancelled_task_of_a_group_is_no_failure(loop, trace):
    async def main():
        async def body(group):
            task = group.create_task(end_slowly(trace, "task", 0))
            await asyncio.sleep(0)
            task.cancel()
        trace(await in_group(body))
    loop.run_until_complete(main())
