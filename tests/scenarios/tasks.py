"""Tasks: semantics rows 22 to 26 and 29, and 2-#1 and 2-#12."""
import asyncio

from scenario import Oops, outcome, outcome_of, run_once, scenario


@scenario
def the_first_step_of_a_task_is_queued(loop, trace):
    async def body(name):
        trace(name)
    async def main():
        loop.call_soon(trace, "before")
        first = loop.create_task(body("first"))
        loop.call_soon(trace, "between")
        second = loop.create_task(body("second"))
        loop.call_soon(trace, "behind")
        trace("created", first.done(), second.done())
        await second
    loop.run_until_complete(main())


@scenario
def sleep_0_lets_everything_run_that_is_ready_once(loop, trace):
    async def body(name):
        for number in range(3):
            trace(name, number)
            await asyncio.sleep(0)
    async def main():
        tasks = [loop.create_task(body(name)) for name in "abc"]
        for number in range(4):
            trace("main", number)
            await asyncio.sleep(0)
        for task in tasks:
            await task
    loop.run_until_complete(main())


@scenario
def sleep_0_and_a_chain_of_callbacks_take_turns(loop, trace):
    def link(left):
        trace("callback", left)
        if left > 0:
            loop.call_soon(link, left - 1)
    async def main():
        loop.call_soon(link, 3)
        for number in range(4):
            trace("task", number)
            await asyncio.sleep(0)
    loop.run_until_complete(main())


@scenario
def a_tasks_end_is_heard_in_the_next_iteration(loop, trace):
    async def body():
        loop.call_soon(trace, "given by the task")
        return "value"
    async def main():
        task = loop.create_task(body())
        task.add_done_callback(lambda t: trace("callback", t.result()))
        loop.call_soon(trace, "behind the task")
        trace("main has", await task)
    loop.run_until_complete(main())


@scenario
def done_callbacks_and_waiters_of_a_task_stand_in_one_line(loop, trace):
    async def body():
        await asyncio.sleep(0)
        trace("body ends")
        return "value"
    async def waiter(name, task):
        trace(name, await task)
    async def main():
        task = loop.create_task(body())
        task.add_done_callback(lambda t: trace("callback 1", t.result()))
        first = loop.create_task(waiter("waiter 1", task))
        await asyncio.sleep(0)
        task.add_done_callback(lambda t: trace("callback 2", t.result()))
        await first
        trace("main", await task)
    loop.run_until_complete(main())


@scenario
def waiting_for_a_task_that_has_ended_does_not_switch(loop, trace):
    async def body():
        return "value"
    async def main():
        task = loop.create_task(body())
        await task
        loop.call_soon(trace, "soon")
        trace("again", await task, await task)
        await asyncio.sleep(0)
    loop.run_until_complete(main())


@scenario
def a_task_ends_one_iteration_for_each_link_of_a_chain(loop, trace):
    async def link(depth):
        if depth > 0:
            await loop.create_task(link(depth - 1))
        trace("link", depth)
    def tick(left):
        trace("-")
        if left > 0:
            loop.call_soon(tick, left - 1)
    async def main():
        task = loop.create_task(link(3))
        loop.call_soon(tick, 8)
        await task
    loop.run_until_complete(main())
    for _ in range(4):
        run_once(loop)


@scenario
def a_direct_call_takes_no_iteration(loop, trace):
    async def inner(depth):
        if depth > 0:
            return await inner(depth - 1) + 1
        return 0
    async def main():
        loop.call_soon(trace, "soon")
        trace("called", await inner(5))
        await asyncio.sleep(0)
    loop.run_until_complete(main())


@scenario
def an_exception_of_a_task_reaches_all_its_waiters(loop, trace):
    async def body():
        trace("body")
        raise Oops("oops")
    async def waiter(number, task):
        trace("waiter", number, await outcome_of(task))
    async def main():
        task = loop.create_task(body())
        waiters = [loop.create_task(waiter(number, task)) for number in range(2)]
        trace("main", await outcome_of(task))
        for each in waiters:
            await each
    loop.run_until_complete(main())


@scenario
def a_failed_task_that_nobody_holds_is_reported_at_its_end(loop, trace):
    async def body():
        trace("fails")
        raise Oops("oops")
    loop.create_task(body())
    loop.call_soon(trace, "next")
    run_once(loop)
    trace("-")
    run_once(loop)


@scenario
def a_failed_task_that_nobody_asked_is_reported_when_it_dies(loop, trace):
    async def body():
        raise Oops("oops")
    task = loop.create_task(body())
    run_once(loop)
    trace("failed", task.done())
    task = None
    trace("dropped")


@scenario
def a_done_callback_that_asks_takes_note_of_the_failure(loop, trace):
    async def body():
        raise Oops("oops")
    task = loop.create_task(body())
    task.add_done_callback(lambda t: trace("asked", outcome(t.result)))
    task = None
    run_once(loop)
    run_once(loop)
    trace("end")


@scenario
def current_task_is_the_one_that_runs(loop, trace):
    async def body():
        me = asyncio.current_task()
        loop.call_soon(lambda: trace("callback:", asyncio.current_task(loop) is None))
        await asyncio.sleep(0)
        trace("body:", asyncio.current_task() is me, me is not main_task)
    async def main():
        task = loop.create_task(body())
        task.add_done_callback(lambda _: trace("done callback:", asyncio.current_task(loop) is None))
        await task
        trace("main:", asyncio.current_task() is main_task)
    main_task = loop.create_task(main())
    loop.run_until_complete(main_task)
    trace("outside:", asyncio.current_task(loop) is None)


@scenario
def all_tasks_are_those_that_have_not_ended(loop, trace):
    async def body(count):
        for _ in range(count):
            await asyncio.sleep(0)
    async def main():
        tasks = [loop.create_task(body(count)) for count in range(3)]
        trace(len(asyncio.all_tasks()))
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
            trace(len(asyncio.all_tasks()), [task.done() for task in tasks].count(True))
    loop.run_until_complete(main())
    trace(len(asyncio.all_tasks(loop)))


@scenario
def the_result_of_a_task_is_its_own(loop, trace):
    async def body():
        return 1
    async def main():
        task = loop.create_task(body())
        trace("result:", outcome(task.result))
        trace("set_result:", outcome(lambda: task.set_result(2)))
        trace("set_exception:", outcome(lambda: task.set_exception(Oops("oops"))))
        trace("await:", await task)
    loop.run_until_complete(main())


@scenario
def a_task_cannot_wait_for_itself(loop, trace):
    async def body():
        trace(await outcome_of(asyncio.current_task()))
        return "ends"
    trace(loop.run_until_complete(body()))


@scenario
def a_task_started_by_a_done_callback_begins_in_the_next_iteration(loop, trace):
    future = loop.create_future()
    tasks = []
    async def body():
        trace("body")
    def start(_):
        trace("callback")
        tasks.append(loop.create_task(body()))
    future.add_done_callback(start)
    loop.call_soon(future.set_result, None)
    loop.call_soon(lambda: loop.call_soon(trace, "beside the callback"))
    for _ in range(3):
        run_once(loop)
        trace("-")


@scenario
def a_task_that_makes_tasks_runs_on_before_them(loop, trace):
    async def leaf(name):
        trace(name)
    async def branch(name):
        tasks = [loop.create_task(leaf(f"{name}{number}")) for number in range(2)]
        trace(name, "made two")
        for task in tasks:
            await task
        trace(name, "ends")
    async def main():
        tasks = [loop.create_task(branch(name)) for name in "ab"]
        trace("main made two")
        for task in tasks:
            await task
    loop.run_until_complete(main())


@scenario
def a_waiter_that_comes_while_others_are_woken_does_not_wait(loop, trace):
    future = loop.create_future()
    async def early():
        trace("early", await future)
    async def late():
        trace("late", await future)
    async def main():
        first = loop.create_task(early())
        await asyncio.sleep(0)
        second = loop.create_task(late())
        future.set_result("value")
        await first
        await second
    loop.run_until_complete(main())


@scenario
def sleepers_wake_in_the_order_of_their_time(loop, trace):
    woken = []
    async def sleeper(seconds):
        when = loop.time() + seconds   # whoever is held up before this sleeps until later
        await asyncio.sleep(seconds)
        woken.append(when)
    async def main():
        tasks = [loop.create_task(sleeper(seconds)) for seconds in (0.007, 0.001, 0.004)]
        for task in tasks:
            await task
    loop.run_until_complete(main())
    trace(len(woken), woken == sorted(woken))


def let_pass(loop, seconds):
    """Keeps the loop busy, so that everything that is due by then is due at once."""
    end = loop.time() + seconds
    while loop.time() < end:
        pass


@scenario
def a_sleeper_goes_on_behind_the_timers_that_are_due_with_it(loop, trace):
    async def sleeper():
        await asyncio.sleep(0.001)
        trace("sleeper")
    async def main():
        task = loop.create_task(sleeper())
        await asyncio.sleep(0)
        loop.call_later(0.001, trace, "timer")
        let_pass(loop, 0.003)
        await task
    loop.run_until_complete(main())


@scenario
def a_sleeper_goes_on_behind_what_its_neighbours_give(loop, trace):
    async def sleeper(name):
        await asyncio.sleep(0.001)
        trace(name)
        loop.call_soon(trace, name, "called soon")
    async def main():
        tasks = [loop.create_task(sleeper(name)) for name in "ab"]
        await asyncio.sleep(0)
        loop.call_later(0.001, lambda: loop.call_soon(trace, "given by a timer"))
        let_pass(loop, 0.003)
        for task in tasks:
            await task
        await asyncio.sleep(0)
    loop.run_until_complete(main())
