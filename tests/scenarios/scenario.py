"""What the Python side of the scenarios shares; scenario.hpp is the same for C++, under the same names.

A scenario is a function that is given an event loop of its own and writes down, in words, the order in which things
happen.  Its namesake on the other side writes down the same.  Where tulp means to differ, the scenario says so:

    @scenario
    @tulp_differs("semantics row 35: equal timers run in the order of their making", ["1", "2", "3"])
    def equal_timers(loop, trace): ...
"""
import asyncio
import contextlib
import dataclasses
import errno
import functools
import select
import socket
import typing

SCENARIOS = {}


@dataclasses.dataclass
class Scenario:
    """`tulp` is the trace of the C++ side where a decision, `because`, wants another one than Python's; on the loops
    `but_not_on` it does not."""
    body: typing.Callable
    tulp: list | None = None
    because: str = ""
    but_not_on: tuple = ()
    python_3_13: list | None = None


def scenario(body):
    """Registers `body(loop, trace)`.  It leaves no task and no transport behind."""
    assert body.__name__ not in SCENARIOS, f"two scenarios are called {body.__name__}"
    SCENARIOS[body.__name__] = Scenario(body, **vars(body))
    return body


def tulp_differs(because, trace, but_not_on=()):
    """A decision of design.md or of a row of semantics.md: the C++ side prints this trace instead."""
    def mark(body):
        vars(body).update(tulp=trace, because=because, but_not_on=but_not_on)
        return body
    return mark


def python_3_13(_because, trace):
    """An older Python does otherwise: this trace stands for its own, and newer ones have to print it themselves."""
    def mark(body):
        vars(body).update(python_3_13=trace)
        return body
    return mark


class Oops(Exception):
    """The error of scenarios; on both sides only its text is traced."""


def name_of(error):
    """An exception in the words of both sides: asyncio's RuntimeError is InvalidStateError in tulp, its ValueError and
    TypeError are std::invalid_argument."""
    match error:
        case None: return "None"
        case Oops(): return str(error)
        case asyncio.InvalidStateError() | RuntimeError(): return "InvalidStateError"
        case ValueError() | TypeError(): return "invalid_argument"
        case asyncio.IncompleteReadError(): return "IncompleteReadError"
        case asyncio.LimitOverrunError(): return "LimitOverrunError"
        case asyncio.CancelledError() | TimeoutError() | ConnectionError() | KeyboardInterrupt():
            return type(error).__name__
        case OSError(): return errno.errorcode[error.errno]
    return repr(error)


def outcome(call):
    """What `call()` returns, or the name of what it throws."""
    try:
        return call()
    except Exception as error:
        return name_of(error)


async def outcome_of(awaitable):
    """What comes of waiting for it; C++ says outcome([&] { return await(future); })."""
    try:
        return await awaitable
    except (Exception, asyncio.CancelledError) as error:
        return name_of(error)


def run_once(loop):
    """One iteration: poll without waiting, and run what is there."""
    loop.stop()
    loop.run_forever()


def run_until(loop, condition):
    """As many iterations as it takes."""
    while not condition():
        run_once(loop)


class Peer:
    """A plain blocking socket."""

    def __init__(self, connected):
        self.socket = connected
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(cls, address):
        return cls(socket.create_connection(address))

    def send(self, text):
        self.socket.sendall(text.encode())

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self):
        self.socket.close()

    def receive(self):
        """What the peer gets until the end of the stream."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.socket.recv(4096):
                received += piece
        return received.decode()

    def take(self):
        """Takes what is there."""
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(1 << 20, socket.MSG_DONTWAIT)

    def has_ended(self):
        """Whether the end of the stream has come."""
        try:
            return not self.socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False


class Wire:
    """A transport that is connected to a plain socket."""

    def __init__(self, loop, protocol):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)   # easily filled
            self.transport, _ = loop.run_until_complete(
                loop.create_connection(lambda: protocol, *listener.getsockname()))
            self.peer = Peer(listener.accept()[0])
        run_once(loop)   # tulp tries to read once before it asks the selector

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()

    def send(self, text):
        """The peer sends; returns when the transport's socket has it."""
        self.peer.send(text)
        self.wait_until_readable()

    def half_close(self):
        self.peer.half_close()
        self.wait_until_readable()

    def reset(self):
        self.peer.reset()
        self.wait_until_readable()

    def wait_until_readable(self):
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        assert poll.poll(10_000), "nothing came over the wire"


class Recorder(asyncio.Protocol):
    """A protocol that traces its calls.  Hooks are set by name: Recorder(trace, on_data=...)."""

    def __init__(self, trace, name="", **hooks):
        self.trace = functools.partial(trace, name) if name else trace
        self.hooks = hooks
        self.transport = None
        self.count = 0   # of calls of data_received
        self.has_ended = False
        self.is_lost = False
        self.keeps_writing = False

    def hook(self, name):
        if name in self.hooks:
            self.hooks[name]()

    def connection_made(self, transport):
        self.transport = transport
        self.trace("made")
        self.hook("on_made")

    def data_received(self, data):
        self.trace("data", data.decode())
        self.count += 1
        self.hook("on_data")

    def eof_received(self):
        self.trace("eof")
        self.has_ended = True
        self.hook("on_eof")
        return self.keeps_writing

    def pause_writing(self):
        self.trace("pause")
        self.hook("on_pause")

    def resume_writing(self):
        self.trace("resume")
        self.hook("on_resume")

    def connection_lost(self, exc):
        self.trace("lost", name_of(exc))
        self.is_lost = True
        self.hook("on_lost")
