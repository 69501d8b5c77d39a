"""Faults in the system calls of real processes: tulp echo, tulp fetch and relay with bad_system between them and libc.
What a kernel does in passing (interruptions, EAGAIN, short counts) nobody notices; an error is told in one line, and a
server serves on."""
import errno
import hashlib
import os
import pathlib
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import unittest

from programs import IS_SANITIZED, RELAY, SKIPPED, TULP, RawServer, reply, temporary_folder

BAD_SYSTEM = RELAY.parent / "bad_system.so"
SEED = 1
IN_PASSING = "interrupt", "hesitate", "shorten"
SERVERS = {   # and how each is ended
    "tulp echo": ([TULP, "echo", "--port", "0"], signal.SIGTERM),
    "relay stream": ([RELAY, "stream", "serve", "0"], signal.SIGINT),
    "relay protocol": ([RELAY, "protocol", "serve", "0"], signal.SIGINT),
    "tulp echo --udp": ([TULP, "echo", "--udp", "--port", "0"], signal.SIGTERM),
}
DATA = os.urandom(3_000_000)

if not BAD_SYSTEM.exists() or IS_SANITIZED:
    sys.exit(SKIPPED)   # a sanitizer stands where bad_system wants to


def environment(what, folder):
    return {**os.environ, "LD_PRELOAD": str(BAD_SYSTEM), "TULP_BAD_SYSTEM": what,
            "TULP_BAD_SYSTEM_COUNT": str(folder / "count")}


def struck(folder):
    return int((folder / "count").read_text())


class Server:
    """One of SERVERS among faults."""

    def __init__(self, name, what, folder):
        command, self.signal = SERVERS[name]
        self.folder = folder
        self.process = subprocess.Popen(command, env=environment(what, folder), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().decode().rpartition(":")[2])

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.process.send_signal(self.signal)
        self.said = self.process.communicate(timeout=60)[1].decode()

    def connect(self, kind=socket.SOCK_STREAM):
        connection = socket.socket(socket.AF_INET, kind)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", self.port))
        return connection


def talk(connection, data):
    """What comes back until the end."""
    def send():
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass   # the reader has it too
    sender = threading.Thread(target=send)
    sender.start()
    received = b""
    try:
        while piece := connection.recv(1 << 18):
            received += piece
    except ConnectionError:
        pass
    sender.join()
    return received


class InPassing(unittest.TestCase):
    def run_each(self, check):
        for what in IN_PASSING:
            with self.subTest(what), temporary_folder() as folder:
                check(f"{what}:{SEED}", folder)
                print(f"{self.id().rpartition('.')[2]}, {what}: {struck(folder)} faults")
                self.assertGreater(struck(folder), 20)

    def check_server(self, name, what, folder):
        with Server(name, what, folder) as server:
            for size in 0, 1, 1000, len(DATA):
                with server.connect() as connection:
                    self.assertTrue(talk(connection, DATA[:size]) == DATA[:size])
            crowd = [server.connect() for _ in range(50)]
            for index, connection in enumerate(crowd):
                connection.sendall(b"%06d" % index)
            for index, connection in enumerate(crowd):
                connection.shutdown(socket.SHUT_WR)
                with connection, connection.makefile("rb") as stream:
                    self.assertEqual(stream.read(), b"%06d" % index)
        self.assertEqual(server.said, "")

    def test_echo(self):
        self.run_each(lambda *where: self.check_server("tulp echo", *where))

    def test_echo_of_streams(self):
        self.run_each(lambda *where: self.check_server("relay stream", *where))

    def test_echo_of_protocols(self):
        self.run_each(lambda *where: self.check_server("relay protocol", *where))

    def test_echo_of_datagrams(self):
        def check(what, folder):
            with Server("tulp echo --udp", what, folder) as server, server.connect(socket.SOCK_DGRAM) as client:
                for size in range(300):
                    client.send(DATA[:size])
                    self.assertTrue(client.recv(1000) == DATA[:size])
        for what in "interrupt", "hesitate":   # a datagram is sent whole
            with temporary_folder() as folder:
                check(f"{what}:{SEED}", folder)
                self.assertGreater(struck(folder), 20)

    def check_client(self, form, what, folder):
        """Through stdin, out and back, and through stdout: pipes and a socket."""
        listener = socket.create_server(("127.0.0.1", 0))

        def echo():
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
        server = threading.Thread(target=echo)
        server.start()
        result = subprocess.run([RELAY, form, "connect", str(listener.getsockname()[1])], input=DATA, check=True,
                                capture_output=True, timeout=60, env=environment(what, folder))
        server.join()
        listener.close()
        self.assertTrue(result.stdout == DATA)

    def test_clients_of_streams(self):
        self.run_each(lambda *where: self.check_client("stream", *where))

    def test_clients_of_protocols(self):
        self.run_each(lambda *where: self.check_client("protocol", *where))

    def test_fetch(self):
        with RawServer(reply(DATA)) as server:
            def check(what, folder):
                result = subprocess.run([TULP, "fetch", server.url], capture_output=True, timeout=60, check=True,
                                        env=environment(what, folder))
                self.assertEqual(hashlib.sha256(result.stdout).digest(), hashlib.sha256(DATA).digest())
            self.run_each(check)


class Errors(unittest.TestCase):
    def test_fetch_tells_the_error_or_fetches_everything(self):
        data = DATA[:300_000]
        failures = 0
        with RawServer(reply(data)) as server, temporary_folder() as folder:
            for call, errors in {
                "socket": [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM],
                "connect": [errno.ECONNREFUSED, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL],
                "send": [errno.ENOBUFS, errno.ENOMEM, errno.ECONNRESET],
                "recv": [errno.ECONNRESET, errno.ENOMEM, errno.ETIMEDOUT],
                "epoll_create1": [errno.EMFILE], "epoll_ctl": [errno.ENOMEM, errno.ENOSPC],
            }.items():
                for number in range(3):
                    for error in errors:
                        with self.subTest(call, number=number, error=errno.errorcode[error]):
                            failures += self.fetch(server, data, f"{call}:{error}:{number}", error, folder)
        self.assertGreater(failures, 20)

    def fetch(self, server, data, what, error, folder):
        result = subprocess.run([TULP, "fetch", server.url], capture_output=True, timeout=60, check=False,
                                env=environment(what, folder))
        if result.returncode == 0:
            self.assertEqual((result.stdout == data, result.stderr), (True, b""))
            return 0
        self.assertIn(os.strerror(error), result.stderr.decode())
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertTrue(data.startswith(result.stdout))
        return 1

    def check_server(self, name, call, error):
        with temporary_folder() as folder:
            for number in range(4):
                with self.subTest(name, call=call, number=number, error=errno.errorcode[error]):
                    with Server(name, f"{call}:{error}:{number}", folder) as server:
                        data = DATA[:100_000]
                        with server.connect() as connection:
                            first = talk(connection, data)
                        self.assertTrue(data.startswith(first))
                        for _ in range(3):
                            with server.connect() as connection:
                                last = talk(connection, data)
                        self.assertTrue(last == data)   # it serves on
                    self.assertEqual(struck(folder), 1)
                    if first != data:
                        self.assertIn(os.strerror(error) if name == "tulp echo" else "relay", server.said)

    def test_servers_serve_on(self):
        for name in "tulp echo", "relay stream", "relay protocol":
            for call, error in [("recv", errno.ECONNRESET), ("recv", errno.ETIMEDOUT), ("send", errno.ECONNRESET),
                                ("accept4", errno.ECONNABORTED), ("accept4", errno.EPROTO)]:
                self.check_server(name, call, error)

    def test_a_server_that_has_no_descriptor_left_serves_a_second_later(self):
        with temporary_folder() as folder:
            with Server("tulp echo", f"accept4:{errno.EMFILE}:0", folder) as server, server.connect() as connection:
                self.assertEqual(talk(connection, b"hello"), b"hello")
            self.assertIn("Too many open files", server.said)
            self.assertIn("pauses for a second", server.said)

    def test_a_server_with_few_descriptors_serves_all_in_turn(self):
        with temporary_folder() as folder, Server("tulp echo", "none", folder) as server:
            pid = server.process.pid
            most = len(os.listdir(f"/proc/{pid}/fd")) + 10
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            waiting = {server.connect(): b"%04d" % index for index in range(30)}
            for connection, data in waiting.items():
                connection.sendall(data)
            while waiting:
                served = select.select(list(waiting), [], [], 10)[0]
                self.assertTrue(served, "nobody is served any more")
                self.assertLessEqual(len(served), 10)
                for connection in served:
                    with connection:
                        self.assertEqual(connection.recv(4), waiting.pop(connection))
        self.assertIn("Too many open files", server.said)


if __name__ == "__main__":
    unittest.main()
