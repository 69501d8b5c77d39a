"""tulp proxy between programs that speak TLS: sessions of many small messages, ends and deaths told apart on either side, and
clients that mean no good."""
import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading
import time
import unittest

from programs import reset
from proxy_test import Proxy, Target, read_all
from tls_peers import LIMIT_SECONDS, TRUNCATED, certificates, exactly, installed, s_client, s_server, socat_server
BROKEN = ConnectionResetError, ssl.SSLEOFError   # which is what Python may call a reset


def setUpModule():
    global FOLDER
    FOLDER = unittest.enterModuleContext(certificates())


def own(*args):
    return "--tls-cert", FOLDER / "good.pem", "--tls-key", FOLDER / "good.key", *args


def to_tls(port, *args, host="localhost"):
    return "--to", f"{host}:{port}", "--to-tls", "--cacert", FOLDER / "ca.pem", *args


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)


def tls_over(connection, **options):
    context = ssl.create_default_context(cafile=FOLDER / "ca.pem")
    return context.wrap_socket(connection, server_hostname="localhost", **options)


class Ends(unittest.TestCase):
    """The client's TLS ends at the proxy, or begins there towards the target."""

    @contextlib.contextmanager
    def joined_by_s_client(self):
        with Target() as target, Proxy("--to", target.place, *own()) as proxy, s_client(FOLDER, proxy.port) as client, \
                target.accept() as server:
            client.type(b"question\n")
            self.assertEqual(server.recv(9), b"question\n")
            server.sendall(b"answer\n")
            client.sees(rb"^answer$")
            yield client, server, proxy

    @contextlib.contextmanager
    def joined_to_s_server(self, *args):
        with s_server(FOLDER, "good", *args) as (server, port), Proxy(*to_tls(port)) as proxy, proxy.connect() as client:
            client.sendall(b"question\n")
            server.sees(rb"^question$")
            server.type(b"answer\n")
            self.assertEqual(client.recv(7), b"answer\n")
            yield client, server, proxy

    def test_a_client_that_says_its_end_ends_and_one_that_is_killed_breaks_the_connection(self):
        with self.joined_by_s_client() as (client, server, proxy):
            client.type(b"Q\n")
            self.assertEqual(server.recv(1), b"")
            server.close()
            self.assertRegex(proxy.log_line(), r"up 9 down 7 in .*: ended$")
        with self.joined_by_s_client() as (client, server, proxy):
            client.process.kill()
            with self.assertRaises(ConnectionResetError):
                server.recv(1)
            self.assertRegex(proxy.log_line(), rf"up 9 down 7 in .*: client: .*{TRUNCATED}")

    def test_a_target_that_says_its_end_ends_and_one_that_is_killed_breaks_the_connection(self):
        with socat_server(FOLDER, "SYSTEM:echo all") as (_, port), Proxy(*to_tls(port)) as proxy, proxy.connect() as client:
            self.assertEqual(read_all(client), b"all\n")
            client.close()
            self.assertRegex(proxy.log_line(), r"up 0 down 4 in .*: ended$")
        with self.joined_to_s_server() as (client, server, proxy):
            server.process.kill()
            with self.assertRaises(ConnectionResetError):
                client.recv(1)
            self.assertRegex(proxy.log_line(), rf"up 9 down 7 in .*: target: .*{TRUNCATED}")

    def test_a_file_goes_to_socat_which_hears_its_end_and_can_still_answer(self):
        data = os.urandom(2_000_000)
        with socat_server(FOLDER, "EXEC:cat") as (_, port), Proxy(*to_tls(port, *own())) as inner, \
                Proxy(*to_tls(inner.port)) as outer:
            with outer.connect() as client:
                sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
                sender.start()
                self.assertTrue(read_all(client) == data)
                sender.join()
            for proxy in inner, outer:
                self.assertRegex(proxy.log_line(), rf"up {len(data)} down {len(data)} in .*: ended$")

    def test_a_reset_below_tls_is_passed_on_to_either_side(self):
        with Target() as target, Proxy("--to", target.place, *own()) as proxy:
            for breaks in "client", "target":
                with self.subTest(breaks), tls_over(proxy.connect(), suppress_ragged_eofs=False) as client, \
                        target.accept() as server:
                    client.sendall(b"x")
                    self.assertEqual(server.recv(1), b"x")
                    first, second = (client, server) if breaks == "client" else (server, client)
                    reset(first)
                    with self.assertRaises(BROKEN):
                        second.recv(1)
                    self.assertRegex(proxy.log_line(), rf": {breaks}: .*Connection reset by peer$")

    def test_keys_change_on_the_way_on_either_side(self):
        with self.joined_by_s_client() as (client, server, _):
            for number in range(10):
                client.type(b"K\n")
                client.sees(rb"^KEYUPDATE$", number + 1)   # or what follows would belong to it
                client.type(b"up\n")
                self.assertEqual(server.recv(3), b"up\n")
                server.sendall(b"down %d\n" % number)
                client.sees(rb"^down %d$" % number)
        with self.joined_to_s_server("-msg") as (client, server, _):
            for number in range(10):
                server.type(b"K\n")
                server.sees(rb"^>>> .*KeyUpdate$", number + 1)
                server.type(b"down\n")
                self.assertEqual(client.recv(5), b"down\n")
                client.sendall(b"up %d\n" % number)
                server.sees(rb"^up %d$" % number)

    def test_a_proxy_that_is_killed_is_an_error_on_both_sides(self):
        with Target() as target:
            proxy = Proxy("--to", target.place, *own())
            with tls_over(proxy.connect(), suppress_ragged_eofs=False) as client, target.accept() as server:
                client.sendall(bytes(100_000))
                server.sendall(bytes(100_000))
                self.assertEqual(server.recv(1), b"\0")
                proxy.process.kill()
                with self.assertRaises(BROKEN):
                    while client.recv(65536):
                        pass
                with contextlib.suppress(ConnectionResetError):   # it had something unread, or not
                    while server.recv(65536):
                        pass
            proxy.process.communicate()


class Targets(unittest.TestCase):
    def test_one_that_is_not_to_be_trusted_hears_nothing_and_the_log_says_why(self):
        reasons = {"expired": "certificate has expired", "not-yet-valid": "not yet valid", "self-signed": "self-signed",
                   "unknown-root": "unable to get local issuer", "incomplete": "unable to get local issuer",
                   "wrong-host": "it is for wrong.example, not for localhost", "common-name-only": "not for localhost",
                   "for-clients": "unsuitable certificate purpose", "not-by-authority": "invalid CA certificate"}
        for name, reason in reasons.items():
            with self.subTest(name), s_server(FOLDER, name) as (server, port), Proxy(*to_tls(port)) as proxy:
                with self.assertRaises(ConnectionResetError), proxy.connect() as client:
                    client.sendall(b"a password\n")
                    client.recv(1)
                self.assertRegex(proxy.log_line(), rf"-> localhost:{port} up 0 down 0 in .*: TLS handshake with .*{reason}")
                server.sees(rb"alert")
                self.assertNotIn(b"password", server.printed)

    def test_it_hears_which_name_is_meant_and_no_address(self):
        other = "-servername", "x", "-cert2", FOLDER / "chain.pem", "-key2", FOLDER / "chain.key"
        for host, args, names in [("localhost", [], [b"localhost"]), ("127.0.0.1", [], []),
                                  ("127.0.0.1", ["--to-name", "a.example"], [b"a.example"])]:
            with self.subTest(host, args=args), s_server(FOLDER, "good", *other) as (server, port), \
                    Proxy(*to_tls(port, *args, host=host)) as proxy, proxy.connect() as client:
                client.sendall(b"hello\n")
                server.sees(rb"^hello$")
                self.assertEqual(re.findall(rb'Hostname in TLS extension: "(.*)"', server.printed), names)

    def test_one_that_wants_a_certificate_gets_it(self):
        verify = "-Verify", "1", "-verify_return_error", "-CAfile", FOLDER / "ca.pem"
        with s_server(FOLDER, "good", *verify) as (server, port):
            with Proxy(*to_tls(port, "--cert", FOLDER / "client.pem", "--key", FOLDER / "client.key")) as proxy, \
                    proxy.connect() as client:
                client.sendall(b"hello\n")
                server.sees(rb"^hello$")
        with s_server(FOLDER, "good", *verify) as (_, port), Proxy(*to_tls(port)) as proxy:
            with self.assertRaises(ConnectionResetError), proxy.connect() as client:
                client.recv(1)
            self.assertIn("certificate required", proxy.log_line())


class Clients(unittest.TestCase):
    def test_handshakes_that_crawl_keep_nobody_waiting_and_end_at_their_limit(self):
        hello, limit_seconds = self.client_hello(), 3
        with Target() as target, Proxy("--to", target.place, *own(), "--connect-timeout", limit_seconds) as proxy:
            crowd = [proxy.connect() for _ in range(200)]
            begin, at = time.monotonic(), 0
            while time.monotonic() - begin < limit_seconds * 1.1:
                for connection in crowd:
                    with contextlib.suppress(OSError):
                        connection.send(hello[at:at + 1])
                at += 1
                if at == 5:
                    self.exchange(proxy, target)
                    self.assertLess(time.monotonic() - begin, limit_seconds)
                time.sleep(2 * limit_seconds / len(hello))   # it would take twice the limit
            for connection in crowd:
                with connection, contextlib.suppress(ConnectionResetError):
                    self.assertEqual(read_all(connection), b"")
        given_up = re.findall(rf"^tulp proxy: TLS handshake with \S+: timed out after {limit_seconds} s", proxy.errors, re.M)
        self.assertEqual(len(given_up), len(crowd))

    def client_hello(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=FOLDER / "ca.pem")
        connection = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            connection.do_handshake()
        return outgoing.read()

    def exchange(self, proxy, target):
        with tls_over(proxy.connect()) as client, target.accept() as server:
            client.sendall(b"hello")
            self.assertEqual(server.recv(5), b"hello")
        self.assertTrue(proxy.log_line())

    def test_records_that_come_byte_by_byte_are_what_they_are(self):
        with Target() as target, Proxy("--to", target.place, *own()) as proxy:
            slicer = subprocess.Popen([installed("socat"), "-d", "-d", "-b1", "TCP-LISTEN:0,bind=127.0.0.1,nodelay",
                                       f"TCP:127.0.0.1:{proxy.port},nodelay"], stderr=subprocess.PIPE)
            for line in slicer.stderr:
                if port := re.search(rb"listening on .*:(\d+)$", line.strip()):
                    break
            with slicer, tls_over(connected(int(port[1]))) as client, target.accept() as server:
                drain = threading.Thread(target=slicer.stderr.read)
                drain.start()
                for size in 1, 100, 16_385:
                    data = os.urandom(size)
                    client.sendall(data)
                    self.assertTrue(exactly(server, size) == data)
                    server.sendall(data)
                    self.assertTrue(exactly(client, size) == data)
                client.close()
                server.close()
                drain.join()

    def test_a_bit_that_flips_breaks_the_connection_on_both_sides(self):
        with Target() as target, Proxy("--to", target.place, *own()) as proxy, socket.create_server(("127.0.0.1", 0)) as gate:
            flips = threading.Event()

            def pass_on(source, sink):
                with contextlib.suppress(OSError):
                    while data := bytearray(source.recv(65536)):
                        if flips.is_set():
                            data[-1] ^= 1
                        sink.sendall(data)
                    sink.shutdown(socket.SHUT_WR)

            def join():
                connection, _ = gate.accept()
                with connection, proxy.connect() as to:
                    threads = [threading.Thread(target=pass_on, args=args) for args in ((connection, to), (to, connection))]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
            joining = threading.Thread(target=join)
            joining.start()
            with tls_over(connected(gate.getsockname()[1])) as client, target.accept() as server:
                client.sendall(b"good")
                self.assertEqual(server.recv(10), b"good")
                flips.set()
                client.sendall(b"bad")
                with self.assertRaises(ConnectionResetError):
                    server.recv(1)
                self.assertRegex(proxy.log_line(), r"up 4 down 0 in .*: client: .*bad record mac")
            joining.join()


if __name__ == "__main__":
    unittest.main()
