"""Calls from other threads: semantics row 41."""
import threading

from scenario import outcome, run_once, run_until, scenario


def in_thread(function):
    """Runs `function` in a thread of its own, to its end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@scenario
def calls_from_another_thread_keep_their_order(loop, trace):
    def post():
        for number in range(4):
            loop.call_soon_threadsafe(trace, number)
    in_thread(post)
    trace("posted")
    for _ in range(2):
        run_once(loop)


@scenario
def a_thread_wakes_a_loop_that_sleeps(loop, trace):
    def post():
        loop.call_soon_threadsafe(trace, "from the thread")
        loop.call_soon_threadsafe(loop.stop)
    thread = threading.Thread(target=post)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    trace("stopped")


@scenario
def a_loops_own_calls_keep_their_order_through_either_door(loop, trace):
    def callback():
        loop.call_soon(trace, 1)
        loop.call_soon_threadsafe(trace, 2)
        loop.call_soon(trace, 3)
        loop.call_soon_threadsafe(trace, 4)
    loop.call_soon(callback)
    run_once(loop)
    trace("-")
    run_once(loop)


@scenario
def calls_before_the_run_keep_their_order_through_either_door(loop, trace):
    loop.call_soon_threadsafe(trace, 1)
    loop.call_soon(trace, 2)
    loop.call_soon_threadsafe(trace, 3)
    loop.call_soon(trace, 4)
    run_once(loop)


@scenario
def what_a_thread_posts_during_a_callback_runs_in_the_next_iteration(loop, trace):
    def callback():
        in_thread(lambda: loop.call_soon_threadsafe(trace, "from the thread"))
        trace("callback ends")
    loop.call_soon(callback)
    loop.call_soon(trace, "neighbour")
    run_once(loop)
    trace("-")
    run_once(loop)


@scenario
def a_call_from_another_thread_is_cancelled(loop, trace):
    handles = []
    in_thread(lambda: handles.append(loop.call_soon_threadsafe(trace, "never")))
    loop.call_soon_threadsafe(trace, "behind")
    handles[0].cancel()
    run_once(loop)
    trace(handles[0].cancelled())


@scenario
def a_future_is_completed_from_another_thread(loop, trace):
    future = loop.create_future()
    def post():
        loop.call_soon_threadsafe(future.set_result, "value")
    async def main():
        thread = threading.Thread(target=post)
        thread.start()
        trace(await future)
        thread.join()
    loop.run_until_complete(main())


@scenario
def a_closed_loop_refuses_other_threads_too(loop, trace):
    loop.close()
    in_thread(lambda: trace(outcome(lambda: loop.call_soon_threadsafe(trace, "never"))))


@scenario
def debug_mode_refuses_a_call_from_a_foreign_thread(loop, trace):
    loop.set_debug(True)
    def foreign():
        trace("call_soon:", outcome(lambda: loop.call_soon(trace, "never")))
        trace("call_later:", outcome(lambda: loop.call_later(0, trace, "never")))
        loop.call_soon_threadsafe(trace, "call_soon_threadsafe")
    ran = []
    loop.call_soon(in_thread, foreign)
    loop.call_soon(ran.append, 1)
    run_until(loop, lambda: ran)
    run_once(loop)
