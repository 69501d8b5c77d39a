"""tulp nc over TLS, with openssl and socat on the other end: what it believes, what it says of itself, and how a
connection that has ended is told from one that was cut."""
import os
import re
import socket
import subprocess
import threading
import time
import unittest

from nc_test import Peer
from programs import TULP, reset
from tls_peers import LIMIT_SECONDS, TRUNCATED, Person, certificates, installed, s_client, s_server, socat_server

ANY_STRENGTH = "-cipher", "DEFAULT:@SECLEVEL=0"   # openssl shows a weak certificate only if it is told to
SECRET = b"a password, for the right server only\n"


def setUpModule():
    global FOLDER
    FOLDER = unittest.enterModuleContext(certificates())


def begin_a_record(connection):
    connection.sendall(b"\x16\x03\x03\x40")
    wait_for_end(connection)


def wait_for_end(connection):
    while connection.recv(65536):
        pass


class Nc(Person):
    """At tulp nc --tls, or with port=None at one that listens with a certificate: `port` says then where."""

    def __init__(self, port, *args, host="localhost", certificate="good"):
        if port is not None:
            return super().__init__(TULP, "nc", "--tls", "--cacert", FOLDER / "ca.pem", *args, host, port)
        own = "--tls-cert", FOLDER / f"{certificate}.pem", "--tls-key", FOLDER / f"{certificate}.key"
        super().__init__(TULP, "nc", "-l", *own, *args, "127.0.0.1", 0)
        self.port = int(self.sees(rb"^tulp nc: listening on .*:(\d+)$")[1])

    def says(self):
        return self.printed.decode()


class Connecting(unittest.TestCase):
    def refuses(self, port, code, reason, *args, **options):
        """Without a byte of what stood on standard input."""
        with Nc(port, *args, **options) as nc:
            nc.type(SECRET)
            self.assertEqual(nc.ends(), code, nc.says())
            self.assertRegex(nc.says(), rf"\Atulp nc: .*{reason}.*\n\Z")

    def test_a_file_goes_to_socat_which_hears_its_end_and_can_still_answer(self):
        data = os.urandom(2_000_000)
        with socat_server(FOLDER, "EXEC:cat") as (_, port):
            command = [TULP, "nc", "-N", "--tls", "--cacert", FOLDER / "ca.pem", "localhost", str(port)]
            result = subprocess.run(command, input=data, capture_output=True, timeout=LIMIT_SECONDS, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertTrue(result.stdout == data)

    def test_a_bad_certificate_is_refused_with_the_reason_before_anything_is_sent(self):
        reasons = {"expired": "certificate has expired", "not-yet-valid": "not yet valid", "self-signed": "self-signed",
                   "unknown-root": "unable to get local issuer", "incomplete": "unable to get local issuer",
                   "wrong-host": "it is for wrong.example, not for localhost", "common-name-only": "not for localhost",
                   "for-clients": "unsuitable certificate purpose", "not-by-authority": "invalid CA certificate",
                   "weak-key": "key too weak", "sha1": "digest algorithm too weak"}
        for name, reason in reasons.items():
            with self.subTest(name), s_server(FOLDER, name, *ANY_STRENGTH) as (server, port):
                self.refuses(port, 60, reason)
                server.sees(rb"alert")
                self.assertNotIn(SECRET, server.printed)
        with s_server(FOLDER, "revoked") as (server, port):
            self.refuses(port, 60, "certificate revoked", "--crlfile", FOLDER / "revoked.crl")

    def test_old_versions_and_weak_ciphers_are_not_spoken(self):
        for args in ["-tls1", *ANY_STRENGTH], ["-tls1_1", *ANY_STRENGTH], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]:
            with self.subTest(args), s_server(FOLDER, "rsa", *args) as (_, port):
                self.refuses(port, 35, "TLS handshake with .*: the peer refuses")

    def test_a_certificate_is_for_the_names_that_it_says(self):
        with s_server(FOLDER, "wildcard") as (server, port):
            for name in "a.example", "x.y.a.example", "x.b.example":
                self.refuses(port, 60, rf"it is for \*\.a\.example, not for {name}", "--server-name", name)
            with Nc(port, "--server-name", "X.a.example") as nc:
                nc.type(b"taken\n")
                server.sees(rb"^taken$")
        with s_server(FOLDER, "address-as-name") as (_, port):
            self.refuses(port, 60, "not for 127.0.0.1", host="127.0.0.1")

    def test_the_server_hears_which_name_is_meant_and_no_address(self):
        other = "-servername", "x", "-cert2", FOLDER / "chain.pem", "-key2", FOLDER / "chain.key"
        for host, args, names in [("localhost", [], [b"localhost"]), ("127.0.0.1", [], []),
                                  ("127.0.0.1", ["--server-name", "a.example"], [b"a.example"])]:
            with self.subTest(host, args=args), s_server(FOLDER, "good", *other) as (server, port), \
                    Nc(port, *args, host=host) as nc:
                nc.type(b"hello\n")
                server.sees(rb"^hello$")
                self.assertEqual(re.findall(rb'Hostname in TLS extension: "(.*)"', server.printed), names)

    def test_a_server_that_wants_a_certificate_gets_it(self):
        with s_server(FOLDER, "good", "-Verify", "1", "-verify_return_error", "-CAfile", FOLDER / "ca.pem") as (server, port):
            with Nc(port, "--cert", FOLDER / "client.pem", "--key", FOLDER / "client.key") as nc:
                nc.type(b"hello\n")
                server.sees(rb"^hello$")
        with s_server(FOLDER, "good", "-Verify", "1", "-verify_return_error", "-CAfile", FOLDER / "ca.pem") as (_, port):
            with Nc(port) as nc:
                self.assertEqual(nc.ends(), 56)
                self.assertIn("certificate required", nc.says())

    def test_a_server_that_is_killed_or_ends_without_a_word_has_truncated_what_it_says(self):
        for end in "killed", "Q":
            with self.subTest(end), s_server(FOLDER, "good") as (server, port), Nc(port, "-v") as nc:
                nc.sees(rb"^tulp nc: connected to 127.0.0.1:\d+, TLSv1.3, TLS_\w+$")
                server.type(b"the beginning of\n")
                nc.sees(rb"^the beginning of$")
                server.process.kill() if end == "killed" else server.type(b"Q\n")
                self.assertEqual(nc.ends(), 56)
                self.assertIn(TRUNCATED, nc.says())

    def test_a_server_that_says_its_end_has_said_everything(self):
        with socat_server(FOLDER, "SYSTEM:echo all") as (_, port), Nc(port) as nc:
            nc.sees(rb"^all$")
            nc.process.stdin.close()
            self.assertEqual((nc.ends(), nc.printed), (0, b"all\n"))

    def test_keys_change_on_the_way_and_renegotiation_is_refused(self):
        with s_server(FOLDER, "good", "-msg") as (server, port), Nc(port) as nc:
            nc.type(b"hello\n")
            server.sees(rb"^hello$")
            for number in range(20):
                server.type(b"K\n" if number % 2 else b"k\n")
                server.sees(rb"^>>> .*KeyUpdate$", number + 1)   # or what follows would belong to it
                server.type(b"down %d\n" % number)
                nc.sees(rb"^down %d$" % number)
                nc.type(b"up %d\n" % number)
                server.sees(rb"^up %d$" % number)
        with s_server(FOLDER, "good", "-tls1_2") as (server, port), Nc(port) as nc:
            nc.type(b"hello\n")
            server.sees(rb"^hello$")
            server.type(b"r\n")
            server.sees(rb"no renegotiation")
            self.assertEqual(nc.ends(), 56)

    def test_a_handshake_that_never_ends_takes_as_long_as_is_given(self):
        for answer in wait_for_end, begin_a_record:
            with self.subTest(answer), Peer(answer) as server:
                begin = time.monotonic()
                self.refuses(server.port, 28, "timed out after 400 ms", "-w", "0.4")
                self.assertLess(time.monotonic() - begin, 20)

    def test_a_reset_in_the_handshake_is_an_error(self):
        with Peer(reset) as server:
            self.refuses(server.port, 7, "Connection reset by peer")

    def test_who_speaks_no_tls_is_told_apart(self):
        for said, words in (b"HTTP/1.1 400 Bad Request\r\n\r\n", "plain HTTP"), (b"SSH-2.0-OpenSSH\r\n", "does not speak TLS"):
            def answer(connection, said=said):
                connection.sendall(said)
                wait_for_end(connection)
            with self.subTest(words), Peer(answer) as server:
                self.refuses(server.port, 35, words)


class Listening(unittest.TestCase):
    def test_s_client_talks_to_it_and_each_hears_the_others_end(self):
        for args in ["-tls1_3"], ["-tls1_2"]:
            with self.subTest(args), Nc(None) as nc, s_client(FOLDER, nc.port, *args) as client:
                client.sees(rb"Verify return code: 0 ")
                client.type(b"question\n")
                nc.sees(rb"^question$")
                nc.type(b"answer\n")
                client.sees(rb"^answer$")
                client.type(b"Q\n")
                self.assertEqual(nc.ends(), 0, nc.says())

    def test_a_client_that_is_killed_has_truncated_what_it_says(self):
        with Nc(None) as nc, s_client(FOLDER, nc.port) as client:
            client.type(b"the beginning of\n")
            nc.sees(rb"^the beginning of$")
            client.process.kill()
            self.assertEqual(nc.ends(), 56)
            self.assertIn(TRUNCATED, nc.says())

    def test_keys_change_on_the_way_and_renegotiation_is_refused(self):
        with Nc(None) as nc, s_client(FOLDER, nc.port, "-tls1_3") as client:
            for number in range(20):
                client.type(b"K\n" if number % 2 else b"k\n")
                client.sees(rb"^KEYUPDATE$", number + 1)
                client.type(b"up %d\n" % number)
                nc.sees(rb"^up %d$" % number)
                nc.type(b"down %d\n" % number)
                client.sees(rb"^down %d$" % number)
        with Nc(None) as nc, s_client(FOLDER, nc.port, "-tls1_2") as client:
            client.sees(rb"Verify return code: 0 ")
            client.type(b"R\n")
            client.sees(rb"no renegotiation")
            self.assertEqual(nc.ends(), 56)

    def test_those_who_speak_no_tls_keep_nobody_waiting(self):
        with Nc(None) as nc:
            rude = [self.enterContext(socket.create_connection(("127.0.0.1", nc.port))) for _ in range(20)]
            for index, connection in enumerate(rude):
                connection.sendall([b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x80"][index % 3])
            with s_client(FOLDER, nc.port) as client:
                client.sees(rb"Verify return code: 0 ")
                client.type(b"hello\n")
                nc.sees(rb"^hello$")
            self.assertRegex(nc.says(), r"(?m)^tulp nc: TLS handshake with .*: the peer speaks plain HTTP")

    def test_clients_have_to_show_a_certificate_where_one_is_wanted(self):
        reasons = {"expired-client": "certificate has expired", "unknown-root": "unable to get local issuer certificate",
                   None: "peer did not return a certificate"}
        with Nc(None, "-k", "--client-ca", FOLDER / "ca.pem") as nc:
            for name, reason in reasons.items():
                own = ["-cert", FOLDER / f"{name}.pem", "-key", FOLDER / f"{name}.key"] if name else []
                with self.subTest(name), s_client(FOLDER, nc.port, *own) as client:
                    client.type(b"let me in\n")
                    client.sees(rb"alert certificate (expired|required)|alert unknown ca")
                    nc.sees(rb"^tulp nc: TLS handshake with .*: .*%s" % reason.encode())
            with s_client(FOLDER, nc.port, "-cert", FOLDER / "client.pem", "-key", FOLDER / "client.key") as client:
                client.type(b"hello\n")
                nc.sees(rb"^hello$")
            self.assertNotIn(b"let me in", nc.printed)

    def test_socat_sends_a_file_and_hears_that_it_has_arrived(self):
        data = os.urandom(2_000_000)
        own = "--tls-cert", FOLDER / "good.pem", "--tls-key", FOLDER / "good.key"
        command = [TULP, "nc", "-l", *own, "127.0.0.1", "0"]
        with subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as nc:
            port = nc.stderr.readline().decode().strip().rpartition(":")[2]
            connect = f"OPENSSL:localhost:{port},pf=ip4,cafile={FOLDER}/ca.pem"
            with subprocess.Popen([installed("socat"), "-u", "-", connect], stdin=subprocess.PIPE) as socat:
                writing = threading.Thread(target=socat.communicate, args=(data,))
                writing.start()
                received, errors = nc.communicate(timeout=LIMIT_SECONDS)
                writing.join()
        self.assertEqual((nc.returncode, errors, socat.returncode), (0, b"", 0))
        self.assertTrue(received == data)


if __name__ == "__main__":
    unittest.main()
