"""Each example does what its first line says."""
import asyncio
import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import time
import unittest

from programs import SKIPPED, TULP, RawServer, descriptor_count, reply, reset

FOLDER = pathlib.Path(TULP).parents[2] / "examples"


def output_of(name, *args):
    return subprocess.run([FOLDER / name, *map(str, args)], capture_output=True, timeout=60, check=True).stdout.decode()


@contextlib.contextmanager
def started(name, *args, **options):
    with subprocess.Popen([FOLDER / name, *map(str, args)], stdout=subprocess.PIPE, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def port_of(server):
    """The port that a server prints."""
    return int(server.stdout.readline().decode().rpartition(":")[2])


@contextlib.contextmanager
def running(name, *args):
    with started(name, *args) as process:
        yield port_of(process)


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def answer_to(port, request):
    """All that a server says to a client that asks nothing more."""
    with connected(port) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


class Examples(unittest.TestCase):
    def test_hello(self):
        self.assertEqual(output_of("hello_callback"), "hello\nworld\n")
        self.assertEqual(output_of("hello_task"),
                         "hello hare\nhello tortoise\ntortoise and hare have been greeted\n")

    def test_coroutines(self):
        self.assertEqual(output_of("coroutines"),
                         "hello hare\nhello tortoise\nhare and tortoise have been greeted\nthe snail is not here yet\n"
                         "a thread has added: 42\n")

    def test_crawl(self):
        pages = {"/": '<a href="/a"><a href="/b">', "/a": '<a href="/b"><a href="/gone#x"><a href="//elsewhere/">', "/b": ""}

        def answer(connection, request):
            path = request.split(b" ")[1].decode()
            connection.sendall(reply(pages[path].encode()) if path in pages else reply(b"", status="404 Not Found"))
        with RawServer(answer) as server:
            lines = output_of("crawl", server.url + "/").splitlines()
            self.assertEqual(sorted(lines), ["/: 200 OK", "/a: 200 OK", "/b: 200 OK", "/gone: 404 Not Found", "4 pages"])
            self.assertEqual(len(server.requests), 4)

    def test_child_process(self):
        self.assertEqual(output_of("child_process").splitlines(),
                         [f"{n} squared is {n * n}" for n in range(1, 6)]
                         + ["the child says: no more questions", "the child has exited with 0"])

    def test_shell(self):
        lines = output_of("shell").splitlines()
        self.assertRegex(lines[0], r"^ls: \d+ names, exit code 0$")
        self.assertEqual(lines[1:], ["sort: apple", "fig", "pear", "at once: one, exit code 0",
                                     "at once: two, exit code 3", "at once: THREE, exit code 0",
                                     "slow: ended by signal 15"])

    def test_fetch(self):
        with RawServer(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nbody\n\nof two parts") as server:
            self.assertEqual(output_of("fetch", "127.0.0.1", server.port), "body\n\nof two parts\n")

    def test_virtual_time(self):
        self.assertEqual(output_of("virtual_time"), "20 times 17 minutes have passed\n")

    def test_guest_poll(self):
        self.assertEqual(output_of("guest_poll").splitlines(),
                         [line for word in ("one", "two", "three")
                          for line in (f"the host has heard: {word}", f"and tells its guest: {word}")]
                         + ["both have ended"])

    @unittest.skipUnless((FOLDER / "guest_glib").exists(), "GLib is not here")
    def test_guest_glib(self):
        self.assertEqual(sorted(output_of("guest_glib").splitlines()),
                         sorted(f"{line}" for n in (1, 2, 3) for line in (f"GLib asks: {n} squared?", f"tulp answers: {n * n}")))

    @unittest.skipUnless((FOLDER / "one_loop").exists(), "libuv or Boost.Asio is not here")
    def test_one_loop(self):
        lines = output_of("one_loop").splitlines()
        for speaker, texts in {"libuv: ": ["tick 1", "tick 2", "tick 3"], "protocol: ": ["HELLO 1", "HELLO 2", "HELLO 3"],
                               "coroutine: ": ["HELLO 1", "HELLO 2", "HELLO 3"],
                               "fiber: ": ["HELLO 1", "HELLO 2", "HELLO 3"]}.items():
            self.assertEqual([line for line in lines if line.startswith(speaker)], [speaker + text for text in texts])
        self.assertEqual(len(lines), 12)

    def test_echo(self):
        for name in "echo_stream", "tcp_echo":
            with self.subTest(name), running(name) as port:
                with connected(port) as connection:
                    for data in b"hello", b"x" * 100_000:
                        connection.sendall(data)
                        received = b""
                        while len(received) < len(data):
                            received += connection.recv(65536)
                        self.assertEqual(received, data)
                    connection.shutdown(socket.SHUT_WR)
                    self.assertEqual(connection.recv(1), b"")

    def test_tcp_echo_asks_itself(self):
        with running("tcp_echo") as port:
            self.assertEqual(output_of("tcp_echo", "127.0.0.1", port),
                             "received: This is the message. It will be echoed.\n")

    def test_tcp_echo_asks_nobody(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = str(nobody.getsockname()[1])
            result = subprocess.run([FOLDER / "tcp_echo", "127.0.0.1", port], capture_output=True, timeout=60, check=False)
        self.assertEqual((result.returncode, result.stderr.decode()),
                         (1, f"error: connect 127.0.0.1:{port}: Connection refused\n"))

    def test_tcp_echo_to_many_who_do_not_read_at_once(self):
        data = bytes(range(256)) * 40_000
        with running("tcp_echo") as port, contextlib.ExitStack() as all_of_them:
            connections = [all_of_them.enter_context(connected(port)) for _ in range(10)]

            def send(connection):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)

            senders = [threading.Thread(target=send, args=(connection,)) for connection in connections]
            for sender in senders:
                sender.start()
            for connection in connections:
                self.assertTrue(connection.makefile("rb").read() == data)
            for sender in senders:
                sender.join()

    def test_simple_tcp_server(self):
        self.assertEqual(output_of("simple_tcp_server").splitlines(), [
            "> add 1.5 2", "< 3.5", "> repeat 3 hello", "< 1. hello", "< 2. hello", "< 3. hello", "< end", "> sing",
            "< bad command"])

    def test_source_and_sink(self):
        with started("sink") as sink:
            port = port_of(sink)
            for _ in range(3):
                self.assertRegex(output_of("source", "127.0.0.1", port, 20), r"^20 MB in [0-9.e-]+ s\n$")
            sink.terminate()
            self.assertEqual(sink.stdout.read(), b"60000000 bytes from 3 connections\n")
            self.assertEqual(sink.wait(timeout=60), 0)

    def test_source_whose_sink_has_had_enough(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with started("source", "127.0.0.1", port, stderr=subprocess.PIPE) as source:
                sink, _ = listener.accept()
                sink.recv(65536)
                reset(sink)
                output, errors = source.communicate(timeout=60)
        self.assertRegex(output.decode(), r"^\d+ MB in [0-9.e-]+ s\n$")
        self.assertRegex(errors.decode(), f"127.0.0.1:{port}: (Connection reset by peer|Broken pipe)")
        self.assertEqual(source.returncode, 0)

    def test_cachesvr(self):
        long_value = b"x" * 1_000_000
        with running("cachesvr") as port:
            for request, answer in [
                (b"get a\n", b"none\n"),
                (b"set a 5\nb\n\0cdget a\n", b"ok\nvalue 5\nb\n\0cd"),
                (b"set empty 0\nget empty\n", b"ok\nvalue 0\n"),
                (b"delete a\ndelete a\nget a\n", b"ok\nnone\nnone\n"),
                (b"set long 1000000\n" + long_value + b"get long\n", b"ok\nvalue 1000000\n" + long_value),
                (b"set a 1000001\n", b"error: bad request\n"),
                (b"set a 99999999999999999999\n", b"error: bad request\n"),
                (b"set a -1\n", b"error: bad request\n"),
                (b"get\n", b"error: bad request\n"),
                (b"\n", b"error: bad request\n"),
                (b"set a 10\nabc", b""),   # it has gone in the middle
                (b"get a\n", b"none\n"),
            ]:
                with self.subTest(request[:30]):
                    self.assertEqual(answer_to(port, request), answer)
            with connected(port) as endless:
                endless.sendall(b"x" * 1001)
                self.assertRegex(endless.makefile("rb").read(), b"^error: no separator within the limit of 1000 bytes")

    def test_cachesvr_hangs_up_on_who_is_slow(self):
        with running("cachesvr") as port, connected(port) as silent, connected(port) as dripping:
            begin = time.monotonic()
            for byte in b"get a line that does not end" * 2:
                try:
                    dripping.sendall(bytes([byte]))
                except OSError:
                    break
                time.sleep(0.2)
            self.assertLess(time.monotonic() - begin, 10)
            self.assertEqual(silent.recv(1), b"")

    def test_cacheclt_outlives_its_server(self):
        with started("cachesvr") as server:
            port = port_of(server)
            alone = descriptor_count(server)
            with started("cacheclt", "127.0.0.1", port, 500, stderr=subprocess.PIPE) as client:
                while descriptor_count(server) < alone + 3:   # its three connections
                    time.sleep(0.01)
                time.sleep(0.1)   # somewhere in the middle of its rounds
                server.kill()
                server.wait()
                time.sleep(0.1)
                with running("cachesvr", port):
                    output, errors = client.communicate(timeout=60)
        self.assertEqual((output, client.returncode), (b"all is well\n", 0))
        self.assertIn(b"; once more in ", errors)

    def test_cacheclt_gives_up_in_the_end(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            result = subprocess.run([FOLDER / "cacheclt", "127.0.0.1", str(nobody.getsockname()[1]), "1"],
                                    capture_output=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Connection refused", result.stderr.decode().splitlines()[-1])

    def test_udp_echo(self):
        with running("udp_echo") as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(60)
                client.connect(("127.0.0.1", port))
                for data in b"hello", b"", b"x" * 60_000:
                    client.send(data)
                    self.assertEqual(client.recv(65536), data)
            self.assertEqual(output_of("udp_echo", "127.0.0.1", port), f"127.0.0.1:{port} says: This is the message.\n")

    def test_udp_echo_asks_asyncio(self):
        class Server(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, addr):
                self.transport.sendto(data.upper(), addr)

        async def serve():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
            port = transport.get_extra_info("sockname")[1]
            output = await loop.run_in_executor(None, output_of, "udp_echo", "localhost", port)
            self.assertEqual(output, f"127.0.0.1:{port} says: THIS IS THE MESSAGE.\n")
            transport.close()

        asyncio.run(serve())

    def test_udp_echo_without_an_answer(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            port = str(silent.getsockname()[1])
            asking = [FOLDER / "udp_echo", "127.0.0.1", port]
            result = subprocess.run(asking, capture_output=True, timeout=60, check=False)
            self.assertEqual((result.returncode, result.stderr.decode().splitlines()),
                             (1, [f"recvfrom 127.0.0.1:{port} timed out"] * 3 + ["error: no answer"]))
        result = subprocess.run(asking, capture_output=True, timeout=60, check=False)
        self.assertEqual((result.returncode, result.stderr.decode().splitlines()),
                         (1, [f"recvfrom 127.0.0.1:{port}: Connection refused"] * 3 + ["error: no answer"]))


if __name__ == "__main__":
    if not (FOLDER / "hello_task").exists():
        sys.exit(SKIPPED)   # built with -Dexamples=false
    unittest.main()
