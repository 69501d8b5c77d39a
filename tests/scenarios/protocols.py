"""Transports and protocols: semantics rows 55 to 73.

One end is a transport with a Recorder, which traces its calls; the other is a plain socket that never surprises."""
import socket

from scenario import Oops, Peer, Recorder, Wire, outcome, python_3_13, run_once, run_until, scenario, tulp_differs


def end(loop, protocol):
    """Runs until the connection is lost, unless it is."""
    if not protocol.is_lost:
        protocol.transport.abort()
    run_until(loop, lambda: protocol.is_lost)


@scenario
def a_whole_life(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        trace("connected")
        wire.send("hello")
        run_once(loop)
        wire.transport.write(b"goodbye")
        wire.half_close()
        run_once(loop)
        trace("closing", wire.transport.is_closing())
        run_once(loop)
        trace("peer got", wire.peer.receive())


@scenario
def connection_made_comes_before_create_connection_is_done(loop, trace):
    protocol = Recorder(trace, on_made=lambda: loop.call_soon(trace, "called soon"))
    with Wire(loop, protocol):
        trace("connected")
        end(loop, protocol)


@scenario
def nothing_is_read_before_connection_made_has_run(loop, trace):
    async def main(listener):
        transport, _ = await loop.create_connection(lambda: protocol, *listener.getsockname())
        trace("connected")
        return transport
    def greet():
        peers.append(Peer(listener.accept()[0]))
        peers[0].send("greeting")
    peers = []
    protocol = Recorder(trace, on_made=greet)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.run_until_complete(main(listener))
        run_until(loop, lambda: protocol.count == 1)
        end(loop, protocol)
        peers[0].close()


@scenario
def what_data_received_gives_runs_before_the_next_data(loop, trace):
    protocol = Recorder(trace, on_data=lambda: loop.call_soon(trace, "called soon"))
    with Wire(loop, protocol) as wire:
        for text in "ab":
            wire.send(text)
            run_once(loop)
        run_once(loop)
        end(loop, protocol)


@scenario
def data_and_the_end_that_come_together(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.peer.send("last words")
        wire.half_close()
        run_until(loop, lambda: protocol.is_lost)
        trace("peer got", wire.peer.receive())


@scenario
def a_protocol_that_answers_the_end_goes_on_writing(loop, trace):
    protocol = Recorder(trace, on_eof=lambda: loop.call_soon(trace, "called soon"))
    protocol.keeps_writing = True
    with Wire(loop, protocol) as wire:
        wire.half_close()
        run_until(loop, lambda: protocol.has_ended)
        run_once(loop)
        trace("closing", wire.transport.is_closing())
        wire.transport.write(b"still here")
        wire.transport.close()
        trace("closing", wire.transport.is_closing())
        run_until(loop, lambda: protocol.is_lost)
        trace("peer got", wire.peer.receive())


# close and abort.

@scenario
def connection_lost_is_called_soon_after_close(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        loop.call_soon(trace, "given before")
        wire.transport.close()
        loop.call_soon(trace, "given behind")
        trace("closing", wire.transport.is_closing())
        run_once(loop)


@scenario
def connection_lost_is_called_soon_after_abort(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        loop.call_soon(trace, "given before")
        wire.transport.abort()
        loop.call_soon(trace, "given behind")
        trace("closing", wire.transport.is_closing())
        run_once(loop)


@scenario
def ending_a_connection_twice_is_ending_it_once(loop, trace):
    for first, second in (("close", "close"), ("close", "abort"), ("abort", "close"), ("abort", "abort")):
        protocol = Recorder(trace)
        with Wire(loop, protocol) as wire:
            getattr(wire.transport, first)()
            getattr(wire.transport, second)()
            run_once(loop)
            run_once(loop)
            getattr(wire.transport, second)()
            run_once(loop)


@scenario
def close_in_connection_made(loop, trace):
    protocol = Recorder(trace, on_made=lambda: protocol.transport.close())
    with Wire(loop, protocol) as wire:
        trace("connected")
        run_until(loop, lambda: protocol.is_lost)
        trace("peer got", wire.peer.receive())


@scenario
def close_in_data_received(loop, trace):
    def close():
        protocol.transport.close()
        loop.call_soon(trace, "called soon")
        trace("closed")
    protocol = Recorder(trace, on_data=close)
    with Wire(loop, protocol) as wire:
        wire.send("data")
        run_once(loop)
        wire.peer.send("never read")
        run_until(loop, lambda: protocol.is_lost)
        run_once(loop)


@scenario
def abort_in_data_received_before_the_end_is_read(loop, trace):
    protocol = Recorder(trace, on_data=lambda: protocol.transport.abort())
    with Wire(loop, protocol) as wire:
        wire.peer.send("data")
        wire.half_close()
        run_until(loop, lambda: protocol.is_lost)
        run_once(loop)


@scenario
def close_in_eof_received(loop, trace):
    protocol = Recorder(trace, on_eof=lambda: protocol.transport.close())
    protocol.keeps_writing = True
    with Wire(loop, protocol) as wire:
        wire.half_close()
        run_until(loop, lambda: protocol.is_lost)
        trace("peer got", wire.peer.receive())


@scenario
def connection_lost_may_close_and_abort(loop, trace):
    def again():
        protocol.transport.close()
        protocol.transport.abort()
        loop.call_soon(trace, "called soon")
    protocol = Recorder(trace, on_lost=again)
    with Wire(loop, protocol) as wire:
        wire.transport.close()
        for _ in range(3):
            run_once(loop)


@scenario
def close_sends_what_was_written_before(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.write(b"one ")
        wire.transport.writelines([b"two ", b"three"])
        wire.transport.close()
        run_until(loop, lambda: protocol.is_lost)
        trace("peer got", wire.peer.receive())


@scenario
def a_reset_by_the_peer(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.reset()
        run_once(loop)
        run_once(loop)
        trace("closing", wire.transport.is_closing())


# Writing.

@scenario
@tulp_differs("design 4, Writing: write() after close() throws",
              ["made", "write InvalidStateError", "lost None", "write InvalidStateError", "peer got before"])
def a_write_after_close(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.write(b"before")
        wire.transport.close()
        trace("write", outcome(lambda: wire.transport.write(b"after")))
        run_until(loop, lambda: protocol.is_lost)
        trace("write", outcome(lambda: wire.transport.write(b"after")))
        trace("peer got", wire.peer.receive())


@scenario
def a_write_after_the_connection_is_lost_is_dropped(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.reset()
        run_until(loop, lambda: protocol.is_lost)
        trace("write", outcome(lambda: wire.transport.write(b"after")))


@scenario
def write_eof_is_the_end_for_the_peer_and_reading_goes_on(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        trace("can write eof", wire.transport.can_write_eof())
        wire.transport.write(b"last words")
        wire.transport.write_eof()
        wire.transport.write_eof()
        trace("write", outcome(lambda: wire.transport.write(b"more")))
        trace("peer got", wire.peer.receive())
        wire.send("answer")
        run_once(loop)
        trace("closing", wire.transport.is_closing())
        end(loop, protocol)


@scenario
def an_empty_write_is_nothing(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.write(b"")
        trace(wire.transport.get_write_buffer_size())
        wire.transport.close()
        run_until(loop, lambda: protocol.is_lost)
        trace("peer got", wire.peer.receive())


def drain(loop, wire, condition):
    """The peer takes what is there until `condition`."""
    while not condition():
        wire.peer.take()
        run_once(loop)


@scenario
def a_full_buffer_pauses_the_writer_at_once_and_resumes_it_later(loop, trace):
    resumed = []
    protocol = Recorder(trace, on_pause=lambda: loop.call_soon(trace, "called soon"),
                        on_resume=lambda: resumed.append(1))
    with Wire(loop, protocol) as wire:
        wire.transport.write(bytes(8 << 20))
        trace("write returned", wire.transport.get_write_buffer_size() > 0)
        wire.transport.write(bytes(1 << 20))
        drain(loop, wire, lambda: resumed)
        trace("below the low mark", wire.transport.get_write_buffer_size() <= 16 * 1024)
        end(loop, protocol)


@scenario
def a_protocol_that_writes_when_it_may_is_paused_again(loop, trace):
    pauses = []
    def write():
        protocol.transport.write(bytes(8 << 20))
    def resumed():
        if len(pauses) < 2:
            write()
    protocol = Recorder(trace, on_pause=lambda: pauses.append(1), on_resume=resumed)
    with Wire(loop, protocol) as wire:
        write()
        drain(loop, wire, lambda: len(pauses) == 2)
        end(loop, protocol)


@scenario
def abort_with_a_full_buffer_does_not_resume_the_writer(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.write(bytes(8 << 20))
        wire.transport.abort()
        trace("left to send", wire.transport.get_write_buffer_size())
        run_once(loop)


@scenario
def close_with_a_full_buffer_sends_it_first(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.write(bytes(8 << 20))
        wire.transport.close()
        trace("closing", wire.transport.is_closing(), protocol.is_lost)
        drain(loop, wire, lambda: protocol.is_lost)


@scenario
def no_room_at_all_pauses_at_any_byte(loop, trace):
    resumed = []
    protocol = Recorder(trace, on_resume=lambda: resumed.append(1))
    with Wire(loop, protocol) as wire:
        wire.transport.set_write_buffer_limits(high=0)
        wire.transport.write(b"taken by the kernel")
        wire.transport.write(bytes(8 << 20))
        drain(loop, wire, lambda: resumed)
        trace(wire.transport.get_write_buffer_size())
        end(loop, protocol)


@scenario
def marks_that_cross_are_refused(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        trace(outcome(lambda: wire.transport.set_write_buffer_limits(high=1, low=2)))
        end(loop, protocol)


# Reading.

@scenario
def nothing_is_received_while_reading_is_paused(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.pause_reading()
        wire.transport.pause_reading()
        trace("reading", wire.transport.is_reading())
        wire.send("data")
        run_once(loop)
        run_once(loop)
        trace("resumed")
        wire.transport.resume_reading()
        wire.transport.resume_reading()
        trace("reading", wire.transport.is_reading())
        run_until(loop, lambda: protocol.count == 1)
        end(loop, protocol)


@scenario
@python_3_13("semantics row 70: pause_reading() is allowed inside connection_made",
             ["made", "resumed", "data data", "lost None"])
def reading_is_paused_in_connection_made(loop, trace):
    protocol = Recorder(trace, on_made=lambda: protocol.transport.pause_reading())
    with Wire(loop, protocol) as wire:
        wire.send("data")
        run_once(loop)
        run_once(loop)
        trace("resumed")
        wire.transport.resume_reading()
        run_until(loop, lambda: protocol.count == 1)
        end(loop, protocol)


@scenario
def reading_is_paused_between_two_pieces(loop, trace):
    protocol = Recorder(trace, on_data=lambda: protocol.transport.pause_reading())
    with Wire(loop, protocol) as wire:
        wire.send("a")
        run_once(loop)
        wire.peer.send("b")
        wire.half_close()
        for _ in range(3):
            run_once(loop)
        trace("resumed")
        wire.transport.resume_reading()
        run_until(loop, lambda: protocol.count == 2)
        for _ in range(3):
            run_once(loop)
        trace("resumed")
        wire.transport.resume_reading()
        run_until(loop, lambda: protocol.is_lost)


@scenario
def a_closing_transport_neither_pauses_nor_resumes_reading(loop, trace):
    protocol = Recorder(trace)
    with Wire(loop, protocol) as wire:
        wire.transport.close()
        wire.transport.pause_reading()
        wire.transport.resume_reading()
        trace("reading", wire.transport.is_reading())
        run_until(loop, lambda: protocol.is_lost)


@scenario
def a_protocol_hands_over_to_another(loop, trace):
    second = Recorder(trace, "second")
    first = Recorder(trace, "first", on_data=lambda: first.transport.set_protocol(second))
    with Wire(loop, first) as wire:
        wire.send("a")
        run_once(loop)
        trace(wire.transport.get_protocol() is second)
        wire.send("b")
        run_once(loop)
        wire.transport.close()
        run_until(loop, lambda: second.is_lost)


# Failing.

def fail():
    raise Oops("oops")


@scenario
def data_received_that_fails_ends_the_connection(loop, trace):
    protocol = Recorder(trace, on_data=fail)
    with Wire(loop, protocol) as wire:
        wire.send("data")
        loop.call_soon(trace, "given before")
        run_once(loop)
        trace("closing", wire.transport.is_closing())
        run_once(loop)


@scenario
def eof_received_that_fails_ends_the_connection(loop, trace):
    protocol = Recorder(trace, on_eof=fail)
    with Wire(loop, protocol) as wire:
        wire.half_close()
        run_once(loop)
        run_once(loop)


@scenario
@tulp_differs("semantics row 58: connection_made that throws aborts the transport",
              ["made", "reported oops", "lost oops"])
def connection_made_that_fails(loop, trace):
    protocol = Recorder(trace, on_made=fail)
    with Wire(loop, protocol) as wire:
        wire.peer.send("data")
        run_until(loop, lambda: protocol.is_lost or protocol.count == 1)
        if not protocol.is_lost:
            end(loop, protocol)


@scenario
def connection_lost_that_fails_is_reported(loop, trace):
    protocol = Recorder(trace, on_lost=fail)
    with Wire(loop, protocol) as wire:
        wire.transport.close()
        loop.call_soon(trace, "next")
        run_once(loop)
        trace("peer got", wire.peer.receive())


@scenario
def pause_writing_that_fails_is_reported_and_no_more(loop, trace):
    protocol = Recorder(trace, on_pause=fail)
    with Wire(loop, protocol) as wire:
        wire.transport.write(bytes(8 << 20))
        trace("closing", wire.transport.is_closing())
        end(loop, protocol)


# Servers.

def a_client(server):
    return Peer.connect(server.sockets[0].getsockname())


@scenario
def a_server_makes_a_protocol_for_each_connection(loop, trace):
    names = ["first", "second"]
    made = []
    def factory():
        made.append(Recorder(trace, names[len(made)], on_data=lambda: loop.call_soon(trace, "called soon")))
        return made[-1]
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    clients = []
    for name in names:
        clients.append(a_client(server))
        clients[-1].send(name)
        run_until(loop, lambda: len(made) == len(clients) and made[-1].count == 1)
    run_once(loop)
    for client, protocol in zip(clients, made):
        client.close()
        run_until(loop, lambda protocol=protocol: protocol.is_lost)
    server.close()
    run_once(loop)


@scenario
def a_server_that_closes_keeps_its_connections(loop, trace):
    protocol = Recorder(trace)
    server = loop.run_until_complete(loop.create_server(lambda: protocol, "127.0.0.1", 0))
    trace("serving", server.is_serving())
    client = a_client(server)
    run_until(loop, lambda: protocol.transport is not None)
    server.close()
    server.close()
    trace("serving", server.is_serving(), "closing", protocol.transport.is_closing())
    client.send("data")
    run_until(loop, lambda: protocol.count == 1)
    client.close()
    run_until(loop, lambda: protocol.is_lost)


@scenario
@python_3_13("semantics row 57: wait_closed() waits for the connections too",
             ["made", "closed", "waits", "lost None", "over"])
def a_server_is_over_when_its_last_connection_is_gone(loop, trace):
    protocol = Recorder(trace)
    server = loop.run_until_complete(loop.create_server(lambda: protocol, "127.0.0.1", 0))
    client = a_client(server)
    run_until(loop, lambda: protocol.transport is not None)
    async def wait():
        await server.wait_closed()
        trace("over")
    server.close()
    trace("closed")
    task = loop.create_task(wait())
    for _ in range(3):
        run_once(loop)
    trace("waits")
    protocol.transport.abort()
    run_until(loop, lambda: protocol.is_lost)
    loop.run_until_complete(task)
    client.close()


@scenario
@tulp_differs("design 4, Errors: what escapes from a callback is reported; asyncio does so in debug mode alone",
              ["reported oops", "client got the end", "serving True"])
def a_connection_whose_factory_fails(loop, trace):
    server = loop.run_until_complete(loop.create_server(fail, "127.0.0.1", 0))
    client = a_client(server)
    run_until(loop, client.has_ended)
    trace("client got the end")
    client.close()
    trace("serving", server.is_serving())
    server.close()
    run_once(loop)
