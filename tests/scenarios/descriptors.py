"""Readers and writers: semantics rows 33 and 38."""
import os
import socket

from scenario import Oops, outcome, run_once, scenario, tulp_differs


def connected_pair():
    """Two ends of one connection; each can be written to, and `one` can be read."""
    one, other = socket.socketpair()
    one.setblocking(False)
    other.send(b"x")
    return one, other


def remove(loop, fd):
    return loop.remove_reader(fd), loop.remove_writer(fd)


@scenario
def the_reader_of_a_descriptor_is_called_before_its_writer(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.add_writer(one, trace, "writer")
        loop.add_reader(one, trace, "reader")
        run_once(loop)
        remove(loop, one)


@scenario
def an_iteration_runs_what_is_queued_then_descriptors_then_timers(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.call_at(loop.time() - 1, trace, "timer")
        loop.add_reader(one, trace, "reader")
        loop.call_soon(trace, "callback")
        run_once(loop)
        remove(loop, one)


@scenario
def a_reader_is_called_in_each_iteration_until_it_has_read(loop, trace):
    one, other = connected_pair()
    with one, other:
        def reader():
            trace("reader", len(calls))
            calls.append(1)
            if len(calls) == 3:
                one.recv(1)
        calls = []
        loop.add_reader(one, reader)
        for iteration in range(4):
            trace("iteration", iteration)
            run_once(loop)
        remove(loop, one)


@scenario
def adding_again_replaces(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.add_reader(one, trace, "former")
        loop.add_reader(one, trace, "reader")
        loop.add_writer(one, trace, "former")
        loop.add_writer(one, trace, "writer")
        run_once(loop)
        remove(loop, one)


@scenario
def remove_says_whether_there_was_one(loop, trace):
    one, other = connected_pair()
    with one, other:
        trace(*remove(loop, one))
        loop.add_reader(one, trace, "reader")
        trace(*remove(loop, one))
        loop.add_reader(one, trace, "reader")
        loop.add_writer(one, trace, "writer")
        trace(loop.remove_reader(one), loop.remove_reader(one))
        run_once(loop)
        trace(loop.remove_writer(one), loop.remove_writer(one))
        run_once(loop)


@scenario
def a_reader_removes_the_writer_that_is_queued_behind_it(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.add_reader(one, lambda: trace("reader", loop.remove_writer(one)))
        loop.add_writer(one, trace, "writer")
        run_once(loop)
        run_once(loop)
        trace(*remove(loop, one))


@scenario
def a_reader_replaces_the_writer_that_is_queued_behind_it(loop, trace):
    one, other = connected_pair()
    with one, other:
        def reader():
            trace("reader")
            loop.add_writer(one, trace, "new writer")
        loop.add_reader(one, reader)
        loop.add_writer(one, trace, "writer")
        run_once(loop)
        trace("-")
        loop.remove_reader(one)
        run_once(loop)
        trace(*remove(loop, one))


@scenario
def a_callback_ahead_removes_no_reader_that_is_not_queued_yet(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.call_soon(lambda: trace("callback", loop.remove_reader(one)))
        loop.add_reader(one, trace, "reader")
        run_once(loop)
        run_once(loop)


@scenario
def a_reader_removes_itself(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.add_reader(one, lambda: trace("reader", loop.remove_reader(one), loop.remove_reader(one)))
        run_once(loop)
        run_once(loop)


@scenario
def a_reader_that_fails_is_reported_and_called_again(loop, trace):
    one, other = connected_pair()
    with one, other:
        def reader():
            raise Oops("reader")
        loop.add_reader(one, reader)
        loop.add_writer(one, trace, "writer")
        run_once(loop)
        run_once(loop)
        remove(loop, one)


@scenario
def what_a_reader_gives_runs_in_the_next_iteration(loop, trace):
    one, other = connected_pair()
    with one, other:
        def reader():
            trace("reader")
            loop.remove_reader(one)
            loop.call_soon(trace, "given by the reader")
        loop.add_reader(one, reader)
        loop.call_soon(lambda: loop.call_soon(trace, "given by a callback"))
        run_once(loop)
        trace("-")
        run_once(loop)


@scenario
def the_other_ends_close_wakes_the_reader(loop, trace):
    one, other = socket.socketpair()
    with one:
        loop.add_reader(one, lambda: (trace("reader", len(one.recv(1))), loop.stop()))
        loop.call_soon(other.close)
        loop.run_forever()
        remove(loop, one)


@scenario
def the_close_of_the_reading_end_of_a_pipe_wakes_the_writer(loop, trace):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while outcome(lambda: os.write(writing, bytes(4096))) != "EAGAIN":
        pass
    loop.add_writer(writing, lambda: (trace("writer", outcome(lambda: os.write(writing, b"x"))), loop.stop()))
    run_once(loop)
    trace("full")
    loop.call_soon(os.close, reading)
    loop.run_forever()
    remove(loop, writing)
    os.close(writing)


@scenario
def a_reader_stops_the_loop(loop, trace):
    one, other = connected_pair()
    with one, other:
        loop.add_reader(one, lambda: (trace("reader"), loop.stop()))
        loop.add_writer(one, trace, "writer")
        loop.run_forever()
        remove(loop, one)


@scenario
def a_descriptor_that_is_not_open_is_refused(loop, trace):
    one, other = socket.socketpair()
    number = one.fileno()
    one.close()
    with other:
        trace(outcome(lambda: loop.add_reader(number, trace)))
        trace(outcome(lambda: loop.remove_reader(number)))


@scenario
@tulp_differs("design 4, One iteration: while callbacks keep coming, some batches run before the next poll",
              ["chain 3", "chain 2", "chain 1", "reader"], but_not_on=("foreign",))
def a_reader_among_a_chain_of_callbacks(loop, trace):
    one, other = connected_pair()
    with one, other:
        def link(left):
            trace("chain", left)
            if left > 1:
                loop.call_soon(link, left - 1)
        def begin():
            loop.call_soon(link, 3)
            loop.add_reader(one, reader)
        def reader():
            trace("reader")
            loop.remove_reader(one)
            loop.call_soon(lambda: loop.call_soon(lambda: loop.call_soon(loop.stop)))
        loop.call_soon(begin)
        loop.run_forever()
