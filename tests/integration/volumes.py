"""Much through slow readers, and many connections at once: for volumes_test.py and, with more, volumes_long_test.py."""
import contextlib
import hashlib
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

from programs import CROWD, IS_SANITIZED, RELAY, SKIPPED, TULP, check_complaints, reset, temporary_folder

MOST_RESIDENT_KIB = 16 * 1024   # the program itself, its stacks and buffers: about half of that
PIECE = os.urandom(1 << 20)


def status_kib(process, key):
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key + ":")).split()[1])


def descriptor_count(process):
    return sum(1 for _ in pathlib.Path(f"/proc/{process.pid}/fd").iterdir())


def wait_until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it does not happen"
        time.sleep(0.01)


@contextlib.contextmanager
def running(*command, **options):
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, **options) as process:
        try:
            yield process
        finally:
            if sys.exc_info()[0] is not None:   # else the caller ends it
                process.kill()


@contextlib.contextmanager
def echo_server(family, folder, program):
    """"tulp echo" or a relay of one form; gives the process, how to connect to it, and where it
    is, for a program to connect to."""
    path = folder / "socket"
    if program == "tulp echo":
        where = ["--unix", path] if family == "unix" else ["--port", 0]
        command, number, code = [TULP, "echo", *where], signal.SIGTERM, 143
    else:
        command = [RELAY, program.split()[1], "serve", f"unix:{path}" if family == "unix" else 0]
        number, code = signal.SIGINT, 130

    def connect():
        if family == "tcp":
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(path))
        return connection

    with open(folder / "complaints", "w+b") as complaints, running(*command, stderr=complaints) as process:
        line = process.stdout.readline().decode().strip()
        port = line.rpartition(":")[2]
        yield process, connect, f"unix:{path}" if family == "unix" else port
        process.send_signal(number)
        assert process.wait(60) == code, process.returncode
        complaints.seek(0)
        check_complaints(complaints.read())


# Much through a slow reader.

class Feeder(threading.Thread):
    """Sends `total` bytes as fast as they are taken, and then the end."""

    def __init__(self, send, end, total):
        super().__init__(daemon=True)
        self.send, self.end, self.total = send, end, total
        self.digest = hashlib.sha256()
        self.start()

    def run(self):
        for index in range(0, self.total, len(PIECE)):
            piece = index.to_bytes(8, "big") + PIECE[8:self.total - index]
            self.digest.update(piece)
            self.send(piece)
        self.end()


class SlowReader(threading.Thread):
    """Reads to the end: nothing for a while, until every buffer is full, and then with pauses."""

    def __init__(self, receive):
        super().__init__(daemon=True)
        self.receive = receive
        self.digest = hashlib.sha256()
        self.received = 0
        self.start()

    def run(self):
        time.sleep(0.3)
        pause_at = 0
        while data := self.receive(1 << 18):
            self.digest.update(data)
            self.received += len(data)
            if self.received >= pause_at:
                pause_at = self.received + (4 << 20)
                time.sleep(0.005)


def feed_socket(connection, total):
    return Feeder(connection.sendall, lambda: connection.shutdown(socket.SHUT_WR), total)


def check_transfers(name, process, total, *pairs):
    """Waits for pairs of a feeder and a reader; both digests must be equal, and the process must have stayed small."""
    begin, peak_kib, is_told = time.monotonic(), 0, not IS_SANITIZED
    threads = [thread for pair in pairs for thread in pair]
    while any(thread.is_alive() for thread in threads):
        with contextlib.suppress(OSError, StopIteration):   # it may end
            peak_kib = status_kib(process, "VmHWM")
        time.sleep(0.01)
        assert time.monotonic() < begin + 600, f"{name} hangs"
    for feeder, reader in pairs:
        assert (reader.received, reader.digest.digest()) == (total, feeder.digest.digest()), (name, reader.received)
    print(f"{name}: {len(pairs)} x {total >> 20} MiB in {time.monotonic() - begin:.1f} s, {peak_kib} KiB resident")
    assert 0 < peak_kib < MOST_RESIDENT_KIB or not is_told, (name, peak_kib)


def echo_much(family, program, total):
    """Through a server and back."""
    with temporary_folder() as folder, echo_server(family, folder, program) as (process, connect, _), \
            connect() as connection:
        pair = feed_socket(connection, total), SlowReader(connection.recv)
        check_transfers(f"{program} over {family}", process, total, pair)


def relay_much(family, form, total):
    """Through a client in both directions at once: from its stdin, and to its stdout."""
    with temporary_folder() as folder:
        if family == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(folder / "socket"))
            listener.listen()
            where = f"unix:{folder}/socket"
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            where = listener.getsockname()[1]
        with listener, running(RELAY, form, "connect", where, stdin=subprocess.PIPE) as process:
            connection, _ = listener.accept()
            with connection:
                pairs = [(Feeder(process.stdin.write, process.stdin.close, total), SlowReader(connection.recv)),
                         (feed_socket(connection, total), SlowReader(process.stdout.read1))]
                check_transfers(f"relay {form} as client over {family}", process, total, *pairs)
            assert process.wait(60) == 0, process.returncode


# Many connections at once.

def allow_descriptors(count):
    """For this process and those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count:
        print(f"skipped: only {most} descriptors may be open here")
        sys.exit(SKIPPED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))


def exchange_at_once(family, program, count, rounds=3):
    """`count` connections, each with a message under way in each round."""
    allow_descriptors(count + 100)
    with temporary_folder() as folder, echo_server(family, folder, program) as (process, connect, _):
        descriptors, before_kib = descriptor_count(process), status_kib(process, "VmRSS")
        connections, begin = [], time.monotonic()
        while len(connections) < count:   # a few at a time: the server's backlog is finite
            few = [connect() for _ in range(min(50, count - len(connections)))]
            talk(few, "hello")
            connections += few
        assert descriptor_count(process) == descriptors + count
        for number in range(rounds):
            talk(connections, f"round {number}")
        seconds, with_kib = time.monotonic() - begin, status_kib(process, "VmRSS")
        print(f"{program} over {family}: {count} connections exchanged {rounds + 1} times in {seconds:.1f} s, "
              f"{(with_kib - before_kib) * 1024 // count} bytes each")
        end_all(connections)
        wait_until(lambda: descriptor_count(process) == descriptors)
        with connect() as connection:
            talk([connection], "still here")


def crowd_at_once(family, program, count, rounds=4):
    """The same with tulp at both ends."""
    allow_descriptors(count + 100)
    with temporary_folder() as folder, echo_server(family, folder, program) as (process, _, where):
        descriptors, begin = descriptor_count(process), time.monotonic()
        said = subprocess.run([CROWD, where, str(count), str(rounds)], stdout=subprocess.PIPE, timeout=300, check=True)
        seconds = time.monotonic() - begin
        print(f"crowd with {program} over {family}: {count} connections exchanged {rounds} times in {seconds:.1f} s, "
              f"{said.stdout.decode().strip()}")
        wait_until(lambda: descriptor_count(process) == descriptors)


def talk(connections, what):
    messages = [f"{what}, connection {index};".encode() * (1 + index % 40) for index in range(len(connections))]
    for connection, message in zip(connections, messages):
        connection.sendall(message)
    for connection, message in zip(connections, messages):
        received = b""
        while len(received) < len(message):
            data = connection.recv(len(message) - len(received))
            assert data, (what, received)
            received += data
        assert received == message, (what, received, message)


def end_all(connections):
    """In three ways."""
    for index, connection in enumerate(connections):
        if index % 3 == 0 and connection.family == socket.AF_INET:
            reset(connection)
        elif index % 3 == 1:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            connection.close()
        else:
            connection.close()


SERVERS = "tulp echo", "relay stream", "relay protocol"
