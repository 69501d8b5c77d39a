"""Signal handlers: semantics rows 39 and 40."""
import signal

from scenario import Oops, outcome, run_once, run_until, scenario, tulp_differs

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


@scenario
def a_signal_handler_is_an_ordinary_callback(loop, trace):
    heard = []
    def handler(word):
        trace("handler", word)
        heard.append(word)
        loop.call_soon(trace, "called soon")
    loop.add_signal_handler(USR1, handler, "argument")
    signal.raise_signal(USR1)
    trace("raised")
    run_until(loop, lambda: heard)
    trace("-")
    run_once(loop)


@scenario
def two_quick_signals_are_two_calls(loop, trace):
    loop.add_signal_handler(USR1, trace, "handler")
    signal.raise_signal(USR1)
    signal.raise_signal(USR1)
    for _ in range(3):
        run_once(loop)


@scenario
def signals_are_heard_in_the_order_of_their_arrival(loop, trace):
    loop.add_signal_handler(USR1, trace, "USR1")
    loop.add_signal_handler(USR2, trace, "USR2")
    for number in (USR2, USR1, USR2):
        signal.raise_signal(number)
    for _ in range(3):
        run_once(loop)


@scenario
def adding_a_handler_again_replaces_the_former(loop, trace):
    loop.add_signal_handler(USR1, trace, "former")
    loop.add_signal_handler(USR1, trace, "handler")
    signal.raise_signal(USR1)
    for _ in range(3):
        run_once(loop)


@scenario
def remove_says_whether_there_was_a_handler(loop, trace):
    trace(loop.remove_signal_handler(USR1))
    loop.add_signal_handler(USR1, trace, "handler")
    trace(loop.remove_signal_handler(USR1), loop.remove_signal_handler(USR1))


@scenario
@tulp_differs("semantics row 38, for signals as for descriptors: what is removed does not run, queued or not",
              ["USR1 True"])
def a_handler_removes_the_one_that_is_queued_behind_it(loop, trace):
    loop.add_signal_handler(USR1, lambda: trace("USR1", loop.remove_signal_handler(USR2)))
    loop.add_signal_handler(USR2, trace, "USR2")
    signal.raise_signal(USR1)
    signal.raise_signal(USR2)
    for _ in range(3):
        run_once(loop)


@scenario
def signals_that_cannot_be_are_refused(loop, trace):
    trace("0:", outcome(lambda: loop.add_signal_handler(0, trace)))
    trace("1000:", outcome(lambda: loop.add_signal_handler(1000, trace)))
    trace("KILL:", outcome(lambda: loop.add_signal_handler(signal.SIGKILL, trace)))


@scenario
def a_signal_handler_that_fails_is_reported(loop, trace):
    def handler():
        trace("handler")
        raise Oops("oops")
    loop.add_signal_handler(USR1, handler)
    for _ in range(2):
        signal.raise_signal(USR1)
        for _ in range(3):
            run_once(loop)


@scenario
def a_signal_handler_stops_the_loop(loop, trace):
    loop.add_signal_handler(USR1, lambda: (trace("handler"), loop.stop()))
    loop.call_soon(signal.raise_signal, USR1)
    loop.run_forever()
    trace("stopped")
