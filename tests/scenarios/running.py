"""Running, stopping and closing a loop; run(): semantics rows 44 to 47 and 51, and 2-#10."""
import asyncio
import signal

from scenario import Oops, name_of, outcome, run_once, scenario, tulp_differs


@scenario
def stop_before_the_run_means_one_iteration(loop, trace):
    loop.call_soon(lambda: loop.call_soon(trace, "second iteration"))
    loop.call_soon(trace, "first iteration")
    loop.stop()
    loop.run_forever()
    trace("stopped")
    loop.stop()
    loop.run_forever()


@scenario
def stop_lets_the_iteration_finish(loop, trace):
    def stopper():
        loop.stop()
        trace("stopping", loop.is_running())
        loop.call_soon(trace, "next run")
    loop.call_soon(stopper)
    loop.call_soon(trace, "same iteration")
    loop.run_forever()
    trace("stopped", loop.is_running())
    run_once(loop)


@scenario
def two_stops_are_one(loop, trace):
    loop.call_soon(loop.stop)
    loop.call_soon(loop.stop)
    loop.call_soon(lambda: loop.call_soon(trace, "second run"))
    loop.run_forever()
    trace("stopped")
    loop.call_soon(loop.stop)
    loop.run_forever()


@scenario
def a_due_timer_waits_for_the_run_after_the_stop(loop, trace):
    def stopper():
        loop.call_at(loop.time() - 1, trace, "timer")
        loop.stop()
    loop.call_soon(stopper)
    loop.run_forever()
    trace("stopped")
    run_once(loop)


@scenario
def stop_in_a_task_lets_the_others_of_the_iteration_run(loop, trace):
    async def stopper():
        loop.stop()
        trace("stopping")
        await asyncio.sleep(0)
        trace("second run")
    async def other():
        trace("other")
        await asyncio.sleep(0)
        trace("other, second run")
    loop.create_task(stopper())
    loop.create_task(other())
    loop.run_forever()
    trace("stopped")
    run_once(loop)


@scenario
def run_until_complete_gives_what_the_future_holds(loop, trace):
    future = loop.create_future()
    loop.call_soon(future.set_result, 7)
    trace(loop.run_until_complete(future))
    trace("done already:", loop.run_until_complete(future))
    failed = loop.create_future()
    loop.call_soon(failed.set_exception, Oops("oops"))
    trace(outcome(lambda: loop.run_until_complete(failed)))
    async def main():
        return 8
    trace("a task:", loop.run_until_complete(main()))


@scenario
def what_is_queued_when_run_until_complete_ends_survives(loop, trace):
    async def main():
        trace("main")
        loop.call_soon(trace, "in the iteration of the end")
        loop.call_soon(lambda: loop.call_soon(trace, "after the end"))
        return "result"
    trace(loop.run_until_complete(main()))
    trace("-")
    run_once(loop)


@scenario
def run_until_complete_that_is_stopped_throws_and_may_be_called_again(loop, trace):
    future = loop.create_future()
    loop.call_soon(loop.stop)
    trace(outcome(lambda: loop.run_until_complete(future)), future.done())
    loop.call_soon(future.set_result, "result")
    trace(loop.run_until_complete(future))


@scenario
def a_future_that_is_done_after_a_stop_does_not_stop_the_next_run(loop, trace):
    future = loop.create_future()
    loop.call_soon(loop.stop)
    trace(outcome(lambda: loop.run_until_complete(future)))
    def second():
        future.set_result(1)
        loop.call_soon(lambda: loop.call_soon(lambda: (trace("goes on"), loop.stop())))
    loop.call_soon(second)
    loop.run_forever()


@scenario
def a_task_goes_on_where_the_last_run_left_it(loop, trace):
    async def counter():
        for number in range(3):
            trace("counter", number)
            await asyncio.sleep(0)
    async def main(name):
        trace(name)
    task = loop.create_task(counter())
    loop.run_until_complete(main("first"))
    trace("-")
    loop.run_until_complete(main("second"))
    trace("-")
    loop.run_until_complete(task)


@scenario
def a_stop_by_the_result_lets_the_iteration_finish(loop, trace):
    future = loop.create_future()
    future.add_done_callback(lambda _: trace("before"))
    def begin():
        future.set_result(5)
        future.add_done_callback(lambda _: trace("behind"))
        loop.call_soon(trace, "soon")
    loop.call_soon(begin)
    trace(loop.run_until_complete(future))


@scenario
def a_loop_does_not_run_within_itself(loop, trace):
    future = loop.create_future()
    def nested():
        trace("run_until_complete:", outcome(lambda: loop.run_until_complete(future)))
        trace("run_forever:", outcome(loop.run_forever))
        loop.stop()   # as CPython 3.13.0 has forgotten by now
    loop.call_soon(nested)
    loop.call_soon(trace, "next")
    loop.run_forever()
    trace(loop.is_running())


@scenario
def a_loop_does_not_run_within_another(loop, trace):
    other = asyncio.new_event_loop()
    other.call_soon(trace, "never")
    loop.call_soon(lambda: trace("run_forever:", outcome(other.run_forever), other.is_running()))
    loop.call_soon(trace, "next")
    run_once(loop)
    other.close()


@scenario
def a_future_of_another_loop_is_refused(loop, trace):
    other = asyncio.new_event_loop()
    future = other.create_future()
    try:
        loop.run_until_complete(future)
    except (RuntimeError, ValueError):
        trace("refused", loop.is_running())
    other.close()


@scenario
def a_loop_says_whether_it_runs_and_whether_it_is_closed(loop, trace):
    def state():
        trace("running", loop.is_running(), "closed", loop.is_closed())
    state()
    loop.call_soon(state)
    run_once(loop)
    state()
    loop.close()
    state()


@scenario
def close_is_refused_while_the_loop_runs(loop, trace):
    loop.call_soon(lambda: trace(outcome(loop.close)))
    loop.call_soon(trace, "next")
    run_once(loop)
    trace(loop.is_closed())


@scenario
def close_drops_what_is_queued(loop, trace):
    loop.call_soon(trace, "never")
    loop.call_at(loop.time() - 1, trace, "never")
    loop.close()
    loop.close()
    trace("closed", loop.is_closed())


@scenario
def a_closed_loop_refuses_everything(loop, trace):
    loop.close()
    trace("call_soon:", outcome(lambda: loop.call_soon(trace)))
    trace("call_soon_threadsafe:", outcome(lambda: loop.call_soon_threadsafe(trace)))
    trace("call_later:", outcome(lambda: loop.call_later(1, trace)))
    trace("call_at:", outcome(lambda: loop.call_at(0, trace)))
    trace("run_forever:", outcome(loop.run_forever))


@scenario
@tulp_differs("design 4, The end of run(): close() by hand cancels the tasks that are left and lets them end",
              ["waits", "closing", "cleans up CancelledError", "closed True"])
def close_with_a_task_that_waits(loop, trace):
    async def waiter():
        trace("waits")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            trace("cleans up", name_of(error))
            raise
    task = loop.create_task(waiter())
    run_once(loop)
    trace("closing")
    loop.close()
    trace("closed", task.done())


@scenario
def the_running_loop_is_the_one_that_one_gets(loop, trace):
    other = asyncio.new_event_loop()
    asyncio.set_event_loop(other)
    loop.call_soon(lambda: trace(asyncio.get_event_loop() is loop))
    run_once(loop)
    trace(asyncio.get_event_loop() is other)
    asyncio.set_event_loop(loop)
    other.close()


# run(): a loop from its beginning to its end.

@scenario
def run_gives_the_result_of_main_or_throws_what_it_threw(_loop, trace):
    async def value():
        return 7
    async def failure():
        raise Oops("oops")
    trace(asyncio.run(value()))
    trace(outcome(lambda: asyncio.run(failure())))


@scenario
def run_within_a_running_loop_is_refused(loop, trace):
    async def main():
        trace("never")
    def nested():
        coroutine = main()
        trace(outcome(lambda: asyncio.run(coroutine)))
        coroutine.close()
    loop.call_soon(nested)
    run_once(loop)


@scenario
def run_cancels_the_task_that_is_left_and_lets_it_clean_up(_loop, trace):
    async def left():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("cancelled")
            await asyncio.sleep(0)
            trace("cleaned up")
            raise
    async def main():
        task = asyncio.create_task(left())
        await asyncio.sleep(0)
        task.add_done_callback(lambda _: trace("heard of its end"))
        trace("main ends")
        return "result"
    trace(asyncio.run(main()))


@scenario
def run_lets_a_task_begin_that_main_made_at_its_end(_loop, trace):
    async def left():
        trace("begins")
        await asyncio.sleep(0)
        trace("never")
    async def main():
        asyncio.create_task(left()).add_done_callback(lambda task: trace("ended", task.cancelled()))
        trace("main ends")
    asyncio.run(main())
    trace("after")


@scenario
def run_lets_left_tasks_end_though_main_failed(_loop, trace):
    async def left():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("cleaned up")
            raise
    async def main():
        asyncio.create_task(left())
        await asyncio.sleep(0)
        raise Oops("oops")
    trace(outcome(lambda: asyncio.run(main())))


@scenario
def run_reports_a_left_task_that_fails_while_it_is_cancelled(_loop, trace):
    async def left():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise Oops("on the way out")
    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: trace("reported", name_of(context["exception"])))
        asyncio.create_task(left())
        await asyncio.sleep(0)
    asyncio.run(main())
    trace("after")


@scenario
def ctrl_c_cancels_main_and_run_throws_keyboard_interrupt(_loop, trace):
    async def main():
        try:
            signal.raise_signal(signal.SIGINT)
            trace("raised")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("cancelled")
            raise
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        trace("KeyboardInterrupt")


@scenario
def main_may_answer_ctrl_c_with_a_value(_loop, trace):
    async def main():
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            trace("cancelled")
        return "value"
    trace(asyncio.run(main()))
