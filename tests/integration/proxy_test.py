"""tulp proxy passes on bytes, ends and resets in both directions, with TLS on either side, and says of each connection
how it ended."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from programs import IS_SANITIZED, TULP, RawServer, accepts, curl, free_port, listening, nginx, reset, serving, tulp

MAKE_CERTIFICATES = pathlib.Path(TULP).parents[2] / "tests" / "programs" / "make_certificates"
LIMIT_SECONDS = 60


def setUpModule():
    global FOLDER
    FOLDER = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory(prefix="tulp-test-")))
    FOLDER.chmod(0o755)   # for nginx
    subprocess.run([MAKE_CERTIFICATES, FOLDER], check=True, timeout=LIMIT_SECONDS)
    (FOLDER / "page").write_bytes(os.urandom(300_000))


class Target:
    """A listener whose connections the test takes by itself."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.settimeout(LIMIT_SECONDS)
        self.place = f"127.0.0.1:{self.listener.getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT_SECONDS)
        return connection


class Proxy:
    """tulp proxy; `port` is where it listens, log_line() the next line of its log without the time."""

    def __init__(self, *args, listen="0"):
        self.process = subprocess.Popen([TULP, "proxy", "--listen", listen, *map(str, args)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.place = self.process.stdout.readline().decode().removeprefix("listening on ").strip()
        self.port = int(self.place.rpartition(":")[2]) if ":" in self.place and "unix" not in self.place else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.errors = self.process.communicate(timeout=LIMIT_SECONDS)[1].decode()
        assert self.process.returncode == 143, (self.process.returncode, self.errors)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_SECONDS)

    def log_line(self):
        line = self.process.stdout.readline().decode().rstrip("\n")
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line), line
        return line.partition(" ")[2]


@contextlib.contextmanager
def joined(*args):
    """A client and a target with a proxy between them; gives the two, and the proxy."""
    with Target() as target, Proxy("--to", target.place, *args) as proxy, proxy.connect() as client, \
            target.accept() as server:
        yield client, server, proxy


def read_all(connection):
    with connection.makefile("rb") as stream:
        return stream.read()


def fill(connection):
    """Sends until nothing is taken any more, for a moment; how much that was."""
    connection.settimeout(0.8)
    size = 0
    with contextlib.suppress(TimeoutError):
        while True:
            size += connection.send(bytes(1_000_000))
    connection.settimeout(LIMIT_SECONDS)
    return size


def read_slowly(connection):
    """To the end or the reset: how much came, and which it was."""
    size = 0
    try:
        while data := connection.recv(200_000):
            size += len(data)
            time.sleep(0.002)
        return size, "end"
    except ConnectionResetError:
        return size, "reset"


class Plain(unittest.TestCase):
    def test_bytes_go_both_ways_at_once(self):
        there, back = os.urandom(10_000_000), os.urandom(9_000_000)
        with joined() as (client, server, proxy):
            received = {}

            def talk(name, connection, data):
                sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
                sender.start()
                received[name] = read_all(connection)
                sender.join()
            threads = [threading.Thread(target=talk, args=args)
                       for args in (("client", client, there), ("server", server, back))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertTrue(received == {"client": back, "server": there})
            self.assertRegex(proxy.log_line(), r"^127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+ up 10000000 down 9000000 in \d+\.\d{3} s: ended$")

    def test_each_half_close_is_passed_on_and_the_other_half_goes_on_under_a_slow_reader(self):
        for is_client_first in True, False:
            with self.subTest(is_client_first), joined() as (client, server, proxy):
                first, second = (client, server) if is_client_first else (server, client)
                data = bytes(3_000_000)
                sender = threading.Thread(target=lambda: (first.sendall(data), first.shutdown(socket.SHUT_WR)))
                sender.start()
                self.assertEqual(read_slowly(second), (len(data), "end"))
                sender.join()
                sender = threading.Thread(target=lambda: (second.sendall(data), second.close()))
                sender.start()
                self.assertEqual(read_slowly(first), (len(data), "end"))
                sender.join()
                self.assertTrue(proxy.log_line().endswith(": ended"))

    def test_each_reset_is_passed_on(self):
        for side in "client", "target":
            with self.subTest(side), joined() as (client, server, proxy):
                first, second = (client, server) if side == "client" else (server, client)
                first.sendall(b"last words")
                self.assertEqual(second.recv(100), b"last words")
                reset(first)
                with self.assertRaises(ConnectionResetError):
                    second.recv(1)
                self.assertRegex(proxy.log_line(), rf": {side}: .*Connection reset by peer$")

    def test_each_reset_is_passed_on_although_the_other_side_does_not_read(self):
        for side in "client", "target":
            with self.subTest(side), joined() as (client, server, proxy):
                first, second = (client, server) if side == "client" else (server, client)
                self.assertGreater(fill(first), 0)
                reset(first)
                self.assertRegex(proxy.log_line(), rf": {side} has broken the connection")
                self.assertEqual(read_slowly(second)[1], "reset")

    def test_a_reset_comes_behind_the_bytes_that_a_slow_reader_takes(self):
        with joined() as (client, server, proxy):
            client.sendall(bytes(500_000))
            self.assertEqual(server.recv(1, socket.MSG_PEEK), b"\0")
            reset(client)
            self.assertEqual(read_slowly(server)[1], "reset")
            self.assertRegex(proxy.log_line(), ": client")

    def test_what_a_target_says_before_it_closes_on_an_upload_arrives(self):
        with joined() as (client, server, proxy):
            server.sendall(b"413 too much")
            server.close()   # and resets what comes
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    client.sendall(bytes(10_000))
            self.assertEqual(client.recv(100), b"413 too much")
            client.close()
            proxy.log_line()

    def test_a_target_that_dies_in_the_middle_of_a_stream_is_a_reset_for_the_client(self):
        with joined() as (client, server, proxy):
            server.sendall(b"the beginning of")
            self.assertEqual(client.recv(100), b"the beginning of")
            client.sendall(b"unread")
            self.assertEqual(server.recv(1), b"u")
            server.close()   # with something unread: as a process that was killed
            with self.assertRaises(ConnectionResetError):
                client.recv(1)
            self.assertIn("Connection reset by peer", proxy.log_line())

    def test_a_target_that_refuses_is_a_reset_for_the_client_and_the_next_target_is_tried(self):
        with Target() as target, Proxy("--to", "127.0.0.1:1") as proxy, \
                Proxy("--to", "127.0.0.1:1", "--to", target.place) as patient:
            with self.assertRaises(ConnectionResetError), proxy.connect() as client:
                client.recv(1)
            self.assertRegex(proxy.log_line(), r"-> 127\.0\.0\.1:1 up 0 down 0 in .*: connect 127\.0\.0\.1:1: Connection refused$")
            with patient.connect() as client, target.accept() as server:
                client.sendall(b"hello")
                self.assertEqual(server.recv(5), b"hello")
            self.assertIn(f"-> {target.place} up 5 down 0", patient.log_line())

    def test_a_slow_reader_costs_bounded_memory(self):
        with joined("--buffer", 65536) as (client, server, proxy):
            sent = fill(client) + fill(server)
            status = pathlib.Path(f"/proc/{proxy.process.pid}/status").read_text()
            if not IS_SANITIZED:
                self.assertLess(int(re.search(r"VmRSS:\s+(\d+)", status)[1]), 40_000)
            self.assertGreater(sent, 0)

    def test_many_tiny_messages_both_ways_arrive_as_they_are_sent(self):
        with joined() as (client, server, proxy):
            for number in range(500):
                for one, other in (client, server), (server, client):
                    one.sendall(b"%d\n" % number)
                    self.assertEqual(other.recv(100), b"%d\n" % number)
            client.close()
            server.close()
            self.assertTrue(proxy.log_line().endswith(": ended"))

    def test_unix_sockets_on_both_sides(self):
        path, own = FOLDER / "target", FOLDER / "own"
        with serving("echo", "--unix", path), Proxy("--to", f"unix:{path}", listen=f"unix:{own}") as proxy, \
                socket.socket(socket.AF_UNIX) as client:
            self.assertEqual(proxy.place, f"unix:{own}")
            client.connect(str(own))
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"hello")
        self.assertFalse(own.exists())


class Limits(unittest.TestCase):
    def test_a_connection_on_which_nothing_moves_is_broken_off(self):
        with joined("--idle-timeout", 1.5) as (client, server, proxy):
            for _ in range(3):   # which takes longer in all
                time.sleep(0.6)
                client.sendall(b"x")
            self.assertIn("idle for 1.50 s", proxy.log_line())
            for side in client, server:
                with self.assertRaises(ConnectionResetError):
                    while side.recv(100):
                        pass

    def test_a_target_that_does_not_answer_to_tls_is_given_up(self):
        with Target() as target, Proxy("--to", target.place, "--to-tls", "--connect-timeout", 1) as proxy:
            with self.assertRaises(ConnectionResetError), proxy.connect() as client:
                client.recv(1)
            self.assertIn("handshake", proxy.log_line())

    def test_too_many_connections_are_refused(self):
        with Target() as target, Proxy("--to", target.place, "--max-connections", 1) as proxy:
            with proxy.connect() as client, target.accept():
                with self.assertRaises(ConnectionResetError), proxy.connect() as second:
                    second.recv(1)
                self.assertTrue(proxy.log_line().endswith(": refused: 1 connections are open"))
            proxy.log_line()
            del client

    def test_a_proxy_to_itself_ends_at_its_limit(self):
        port = free_port()
        with Proxy("--to", f"127.0.0.1:{port}", "--max-connections", 50, listen=f"127.0.0.1:{port}") as proxy:
            with self.assertRaises(ConnectionResetError), proxy.connect() as client:
                client.recv(1)
            self.assertTrue(proxy.log_line().endswith(": refused: 50 connections are open"))
            for _ in range(50):
                proxy.log_line()


class Tls(unittest.TestCase):
    def tls_client(self, proxy, name=None):
        context = ssl.create_default_context(cafile=FOLDER / "ca.pem")
        if name:
            context.load_cert_chain(FOLDER / f"{name}.pem", FOLDER / f"{name}.key")
        return context.wrap_socket(proxy.connect(), server_hostname="localhost")

    def own(self, *args):
        return "--tls-cert", FOLDER / "good.pem", "--tls-key", FOLDER / "good.key", *args

    def test_it_ends_tls_for_a_plain_target(self):
        with nginx(FOLDER) as port, Proxy("--to", f"127.0.0.1:{port}", *self.own()) as proxy:
            self.assertTrue(curl("--cacert", FOLDER / "ca.pem", f"https://localhost:{proxy.port}/page")
                            == (FOLDER / "page").read_bytes())

    def test_it_speaks_tls_to_a_target_that_it_verifies(self):
        tls = f"ssl_certificate {FOLDER}/good.pem; ssl_certificate_key {FOLDER}/good.key;"
        with nginx(FOLDER, tls) as port:
            with Proxy("--to", f"localhost:{port}", "--to-tls", "--cacert", FOLDER / "ca.pem") as proxy:
                self.assertTrue(curl(f"http://127.0.0.1:{proxy.port}/page") == (FOLDER / "page").read_bytes())
            for args, words in [([], "certificate"), (["--cacert", FOLDER / "ca.pem", "--to-name", "else.test"], "else.test")]:
                with self.subTest(args), Proxy("--to", f"localhost:{port}", "--to-tls", *args) as proxy:
                    with self.assertRaises(ConnectionResetError), proxy.connect() as client:
                        client.recv(1)
                    self.assertIn(words, proxy.log_line())
            with Proxy("--to", f"127.0.0.1:{port}", "--to-tls", "--insecure") as proxy:
                self.assertTrue(curl(f"http://127.0.0.1:{proxy.port}/page") == (FOLDER / "page").read_bytes())

    def test_half_closes_go_through_tls_on_either_side(self):
        ca = "--cacert", FOLDER / "ca.pem"
        with Target() as target, Proxy("--to", target.place, *self.own()) as inner, \
                Proxy("--to", f"localhost:{inner.port}", "--to-tls", *ca) as outer:
            with outer.connect() as client, target.accept() as server:
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(server), b"question")
                server.sendall(bytes(1_000_000))
                server.shutdown(socket.SHUT_WR)
                self.assertEqual(len(read_all(client)), 1_000_000)
            for proxy in inner, outer:
                self.assertRegex(proxy.log_line(), "up 8 down 1000000 in .* s: ended$")

    def test_a_connection_that_is_cut_without_tls_s_own_end_is_broken_on_the_other_side(self):
        with Target() as target, Proxy("--to", target.place, *self.own()) as proxy:
            client = self.tls_client(proxy)
            server = target.accept()
            client.sendall(b"part")
            self.assertEqual(server.recv(4), b"part")
            socket.socket(fileno=client.detach()).close()
            with server, self.assertRaises(ConnectionResetError):
                server.recv(1)
            self.assertIn(": client: ", proxy.log_line())

    def test_clients_without_the_certificate_that_is_asked_for_are_refused(self):
        with Target() as target, Proxy("--to", target.place, *self.own("--client-ca", FOLDER / "ca.pem")) as proxy:
            with self.assertRaises((ssl.SSLError, ConnectionError)), self.tls_client(proxy) as client:
                client.recv(1)
            with self.tls_client(proxy, "good") as client, target.accept() as server:
                client.sendall(b"hello")
                self.assertEqual(server.recv(5), b"hello")
                server.shutdown(socket.SHUT_WR)
                client.unwrap()
            self.assertTrue(proxy.log_line().endswith(": ended"))

    def test_plain_clients_at_a_tls_port_are_dropped_with_a_line(self):
        with Target() as target:
            with Proxy("--to", target.place, *self.own()) as proxy, proxy.connect() as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    read_all(client)
            self.assertRegex(proxy.errors, r"^tulp proxy: .*127\.0\.0\.1:\d+.*\n$")


class Ends(unittest.TestCase):
    def test_a_stop_lets_connections_end_within_the_grace_period(self):
        with Target() as target, Proxy("--to", target.place, "--grace", 30) as proxy:
            with proxy.connect() as client, target.accept() as server:
                proxy.process.terminate()
                target.listener.settimeout(1)
                while accepts(proxy.port):   # and what came through shall not be what it waits for
                    with contextlib.suppress(TimeoutError):
                        target.accept().close()
                client.sendall(b"still")
                self.assertEqual(server.recv(5), b"still")
                self.assertIsNone(proxy.process.poll())
            while "up 5 down 0" not in proxy.log_line():   # beside those that only looked
                pass
            self.assertEqual(proxy.process.wait(LIMIT_SECONDS), 143)

    def test_a_stop_cuts_off_what_is_left_after_it(self):
        for number, code in (signal.SIGTERM, 143), (signal.SIGINT, 130):
            with self.subTest(number), Target() as target:
                proxy = Proxy("--to", target.place, "--grace", 0.1)
                with proxy.connect() as client, target.accept():
                    proxy.process.send_signal(number)
                    self.assertIn("cut off: the proxy stops", proxy.log_line())
                    with self.assertRaises(ConnectionResetError):
                        client.recv(1)
                    proxy.process.communicate(timeout=LIMIT_SECONDS)
                    self.assertEqual(proxy.process.returncode, code)

    def test_several_workers_serve_one_port(self):
        with RawServer(lambda connection, _: connection.sendall(b"hello")) as server, \
                Proxy("--to", f"127.0.0.1:{server.port}", "--workers", 2) as proxy:
            for _ in range(20):
                with proxy.connect() as client:
                    client.sendall(b"\r\n\r\n")
                    self.assertEqual(read_all(client), b"hello")
                self.assertTrue(proxy.log_line().endswith(": ended"))

    def test_a_log_that_cannot_be_written_is_an_error_and_one_that_nobody_reads_ends_it_quietly(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([TULP, "proxy", "--listen", "0", "--to", "1"], stdout=full, stderr=subprocess.PIPE,
                                    timeout=LIMIT_SECONDS, check=False)
        self.assertEqual((result.returncode, result.stderr), (23, b"tulp proxy: stdout: No space left on device\n"))
        with Target() as target:
            proxy = Proxy("--to", target.place)
            proxy.process.stdout.close()
            proxy.connect().close()
            target.accept().close()
            self.assertEqual(proxy.process.wait(LIMIT_SECONDS), 23)
            with proxy.process.stderr as errors:
                self.assertEqual(errors.read(), b"")

    def test_logs_that_nobody_reads_hold_up_nobody(self):
        own = "--tls-cert", FOLDER / "good.pem", "--tls-key", FOLDER / "good.key"
        for args in (), own:   # lines on standard output, and those of failed handshakes on standard error
            with self.subTest(args), Target() as target, Proxy("--to", target.place, *args) as proxy:
                for _ in range(1500):   # more than a pipe holds
                    with proxy.connect() as client:
                        if args:
                            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                        else:
                            target.accept().close()
                        with contextlib.suppress(ConnectionResetError):
                            read_all(client)

    def test_errors(self):
        with listening("echo", "--port", 0) as port:
            for args, code, words in [
                (["--listen", f"127.0.0.1:{port}", "--to", "1"], 1, "Address already in use"),
                (["--listen", "192.0.2.1:0", "--to", "1"], 1, "192.0.2.1"),
                (["--listen", "0"], 2, "--to"), (["--to", "1"], 2, "--listen"),
                (["--listen", "x", "--to", "1"], 2, "x"), (["--listen", "::1:80", "--to", "1"], 2, "brackets"),
                (["--listen", "0", "--to", "localhost:0"], 2, "localhost:0"), (["--listen", "0", "--to", ":80"], 2, "host"),
                (["--listen", "0", "--to", "unix:"], 2, "Unix"), (["--listen", "0", "--to", "1", "--cacert", "x"], 2, "--to-tls"),
                (["--listen", "0", "--to", "unix:/x", "--to-tls"], 2, "--to-name"),
                (["--listen", "0", "--to", "a:1", "--to-tls", "--cacert", "/no/such/file"], 77, "/no/such/file"),
                (["--listen", "0", "--to", "1", "--tls-cert", "/no/such/file"], 58, "/no/such/file"),
            ]:
                with self.subTest(args):
                    result = tulp("proxy", *args)
                    self.assertEqual((result.returncode, result.stderr.count(b"\n")), (code, 1), result.stderr)
                    self.assertIn(words, result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
