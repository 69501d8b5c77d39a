"""TLS beside the peers that people use: openssl, curl, nginx and asyncio, with certificates good and bad, in both roles."""
import asyncio
import contextlib
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from programs import TULP, curl, free_port, nginx, reply, tulp

MAKE_CERTIFICATES = pathlib.Path(TULP).parents[2] / "tests" / "programs" / "make_certificates"
ANY_STRENGTH = ["-cipher", "DEFAULT:@SECLEVEL=0"]   # openssl shows a weak certificate only if it is told to


def setUpModule():
    global FOLDER
    FOLDER = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory(prefix="tulp-test-")))
    FOLDER.chmod(0o755)   # for nginx
    subprocess.run([MAKE_CERTIFICATES, FOLDER], check=True, timeout=60)
    (FOLDER / "page").write_bytes(os.urandom(300_000))


def identity(name):
    return ["-cert", FOLDER / f"{name}.pem", "-cert_chain", FOLDER / f"{name}.pem", "-key", FOLDER / f"{name}.key"]


@contextlib.contextmanager
def openssl_server(name, *args):
    """openssl s_server with the files of FOLDER, as https; gives the port."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-WWW", *identity(name), *args]
    with subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, cwd=FOLDER) as server:
        try:
            lines = []
            for line in server.stdout:
                lines.append(line)
                if port := re.search(r"^ACCEPT .*:(\d+)", line):
                    break
            else:
                raise RuntimeError("".join(lines))
            drain = threading.Thread(target=server.stdout.read)
            drain.start()
            yield int(port[1])
        finally:
            server.kill()
            drain.join()


def openssl_client(port, *args, data=b""):
    """What s_client prints; -ign_eof would make it stay."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", FOLDER / "ca.pem",
               "-verify_return_error", *args]
    return subprocess.run([*map(str, command)], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          check=False).stdout.decode("latin-1")


@contextlib.contextmanager
def tulp_server(command, *args):
    """A tulp command that listens with TLS; gives the port, and a list that has its complaints in the end."""
    complaints = []
    with subprocess.Popen([TULP, command, "--port", "0", "--tls-cert", FOLDER / "good.pem", "--tls-key",
                           FOLDER / "good.key", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        try:
            line = server.stdout.readline().decode()
            assert line.startswith("listening on "), line + server.stderr.read().decode()
            yield int(line.rpartition(":")[2]), complaints
        finally:
            server.terminate()
            complaints.extend(server.communicate(timeout=60)[1].decode().splitlines())
        assert server.returncode == 143, (server.returncode, complaints)


def fetch(port, *args, path="page", host="localhost", trust="ca.pem"):
    return tulp("fetch", "--cacert", FOLDER / trust, *args, f"https://{host}:{port}/{path}")


class Fetch(unittest.TestCase):
    def check_refused(self, fetched, code, reason):
        self.assertEqual((fetched.stdout, fetched.returncode), (b"", code), fetched.stderr)
        self.assertRegex(fetched.stderr.decode(), rf"\Atulp fetch: https://\S+: .*{reason}.*\n\Z")

    def test_good_certificates_are_believed(self):
        page = (FOLDER / "page").read_bytes()
        for name, host in ("good", "localhost"), ("good", "127.0.0.1"), ("chain", "localhost"), ("rsa", "localhost"):
            with self.subTest(name, host=host), openssl_server(name) as port:
                fetched = fetch(port, host=host)
                self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
                self.assertTrue(fetched.stdout == page)
        for version in "-tls1_2", "-tls1_3":
            with self.subTest(version), openssl_server("good", version) as port:
                self.assertTrue(fetch(port).stdout == page)

    def test_bad_certificates_are_refused_and_the_reason_is_said(self):
        reasons = {"expired": "certificate has expired", "not-yet-valid": "certificate is not yet valid",
                   "self-signed": "self-signed certificate", "unknown-root": "unable to get local issuer certificate",
                   "wrong-host": "it is for wrong.example, not for localhost",
                   "wildcard": r"it is for \*\.a\.example, not for localhost",
                   "common-name-only": "it is for nobody, not for localhost",
                   "for-clients": "unsuitable certificate purpose", "incomplete": "unable to get local issuer certificate",
                   "not-by-authority": "invalid CA certificate", "weak-key": "EE certificate key too weak",
                   "sha1": "CA signature digest algorithm too weak"}
        for name, reason in reasons.items():
            with self.subTest(name), openssl_server(name, *ANY_STRENGTH) as port:
                self.check_refused(fetch(port), 60, reason)
                self.assertTrue(fetch(port, "--insecure").stdout == (FOLDER / "page").read_bytes()
                                if name not in ("weak-key", "sha1") else True)

    def test_what_was_revoked_is_refused_where_the_list_is_given(self):
        with openssl_server("revoked") as port:
            self.assertEqual(fetch(port).returncode, 0)
            self.check_refused(fetch(port, "--crlfile", FOLDER / "revoked.crl"), 60, "certificate revoked")

    def test_old_versions_and_weak_ciphers_are_not_spoken(self):
        for args in ["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]:
            with self.subTest(args), openssl_server("rsa", *(args if "-cipher" in args else args + ANY_STRENGTH)) as port:
                self.check_refused(fetch(port), 35, "TLS handshake with")

    def test_servers_that_want_a_certificate_get_it(self):
        with openssl_server("good", "-Verify", "1", "-verify_return_error", "-CAfile", FOLDER / "ca.pem") as port:
            own = ["--cert", FOLDER / "client.pem", "--key", FOLDER / "client.key"]
            self.assertTrue(fetch(port, *own).stdout == (FOLDER / "page").read_bytes())
            self.check_refused(fetch(port), 56, "certificate required")
            expired = ["--cert", FOLDER / "expired-client.pem", "--key", FOLDER / "expired-client.key"]
            self.check_refused(fetch(port, *expired), 58, "expired-client.pem")

    def test_files_that_cannot_be_used_are_named(self):
        for args, code, reason in (
                (["--cacert", FOLDER / "none.pem"], 77, "none.pem: No such file"),
                (["--cacert", FOLDER / "page"], 77, "page"),
                (["--cert", FOLDER / "good.pem", "--key", FOLDER / "rsa.key"], 58, "rsa.key"),
                (["--cert", FOLDER / "expired.pem", "--key", FOLDER / "expired.key"], 58, "expired.pem")):
            with self.subTest(args):
                failed = tulp("fetch", *args, "https://127.0.0.1:1/")
                self.assertEqual(failed.returncode, code, failed.stderr)
                self.assertEqual(len(failed.stderr.splitlines()), 1, failed.stderr)
                self.assertIn(reason, failed.stderr.decode())

    def test_a_server_without_tls_is_told_from_one_that_is_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def answer():
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply(b"", status="400 Bad Request"))
            thread = threading.Thread(target=answer)
            thread.start()
            self.check_refused(fetch(listener.getsockname()[1]), 35, "the peer speaks plain HTTP")
            thread.join()
        self.check_refused(fetch(free_port()), 7, "Connection refused")

    def test_nginx_gives_what_it_gives_curl(self):
        conf = f"ssl_certificate {FOLDER}/good.pem; ssl_certificate_key {FOLDER}/good.key;"
        with nginx(FOLDER, tls=conf) as port:
            for path in "page", "chunked/page", "moved", "empty", "no-such-file":
                with self.subTest(path):
                    url = f"https://localhost:{port}/{path}"
                    self.assertEqual(tulp("fetch", "--cacert", FOLDER / "ca.pem", url).stdout,
                                     curl("-L", "--cacert", FOLDER / "ca.pem", url))


    def test_a_redirect_to_where_nothing_is_encrypted_is_not_followed(self):
        conf = f"""ssl_certificate {FOLDER}/good.pem; ssl_certificate_key {FOLDER}/good.key;
          location = /down {{ return 302 http://localhost:1/x; }} location = /on {{ return 302 https://$http_host/page; }}"""
        with nginx(FOLDER, tls=conf) as port:
            fetched = fetch(port, path="down")
            self.assertEqual((fetched.returncode, fetched.stdout), (1, b""))
            self.assertIn(b"redirected to http://localhost:1/x: that is not encrypted any more", fetched.stderr)
            self.assertTrue(fetch(port, path="on").stdout == (FOLDER / "page").read_bytes())


class Servers(unittest.TestCase):
    def test_s_client_has_everything_sent_back(self):
        data = b"a line\n" * 100
        with tulp_server("echo") as (port, complaints):
            for args in [], ["-tls1_2"], ["-tls1_3"], ["-servername", "localhost", "-verify_hostname", "localhost"]:
                with self.subTest(args):
                    printed = openssl_client(port, *args, data=data)
                    self.assertIn("Verify return code: 0 (ok)", printed)
        self.assertEqual([line for line in complaints if "handshake" in line], [])

    def test_old_versions_and_weak_ciphers_are_refused(self):
        with tulp_server("echo") as (port, complaints):
            for args in ["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]:
                self.assertIn("alert", openssl_client(port, *args, *([] if "-cipher" in args else ANY_STRENGTH)))
        self.assertEqual(len(complaints), 3, complaints)
        self.assertRegex(complaints[0], "TLS handshake with 127.0.0.1:[0-9]+: .*unsupported protocol")
        self.assertRegex(complaints[2], "no shared cipher")

    def test_clients_have_to_show_a_certificate_where_one_is_wanted(self):
        own = {"client": None, "expired-client": "certificate has expired",
               "unknown-root": "unable to get local issuer certificate", "good": None, None: "peer did not return a certificate"}
        for name, reason in own.items():
            with self.subTest(name), tulp_server("demo", "--serve", "--client-ca", FOLDER / "ca.pem") as (port, complaints):
                args = ["--cert", FOLDER / f"{name}.pem", "--key", FOLDER / f"{name}.key"] if name else []
                url = f"https://localhost:{port}/"
                asked = subprocess.run(["curl", "-sS", "--cacert", FOLDER / "ca.pem", *args, url], capture_output=True,
                                       timeout=60, check=False)
                self.assertEqual(asked.returncode == 0, reason is None, asked.stderr)
            self.assertTrue(reason is None or any(reason in line for line in complaints), complaints)

    def test_nginx_and_curl_verify_a_server_of_ours(self):
        with tulp_server("demo", "--serve", "--pages", "3") as (port, complaints):
            pages = [f"https://localhost:{port}/{path}" for path in ("small/0", "image/1", "nothing")]
            proxied = f"""
              location / {{ proxy_pass https://127.0.0.1:{port}; proxy_ssl_verify on; proxy_ssl_name localhost;
                proxy_ssl_server_name on; proxy_ssl_trusted_certificate {FOLDER}/ca.pem; proxy_ssl_session_reuse on; }}
              ssl_certificate {FOLDER}/good.pem; ssl_certificate_key {FOLDER}/good.key;"""
            with nginx(FOLDER, tls=proxied) as front:
                for page in pages:
                    direct = curl("--cacert", FOLDER / "ca.pem", page)
                    self.assertEqual(direct, curl("--cacert", FOLDER / "ca.pem", page.replace(f":{port}", f":{front}")))
                    self.assertEqual(direct, tulp("fetch", "--cacert", FOLDER / "ca.pem", page).stdout)
        self.assertEqual(complaints, [])

    def test_whatever_comes_instead_of_tls_ends_that_connection_alone(self):
        rubbish = {b"GET / HTTP/1.1\r\n\r\n": "plain HTTP", bytes(range(200, 256)) * 10: "does not speak TLS",
                   b"\x16\x03\x01\x02\x00" + bytes(512): "", b"": None}
        with tulp_server("echo") as (port, complaints):
            for data in rubbish:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(60)
                    with contextlib.suppress(ConnectionResetError):
                        while connection.recv(65536):
                            pass
            self.assertIn("Verify return code: 0 (ok)", openssl_client(port))
        handshakes = [line for line in complaints if "handshake" in line]
        self.assertEqual(len(handshakes), 3, complaints)
        for line, reason in zip(handshakes, rubbish.values()):
            self.assertIn(reason, line)


class Asyncio(unittest.IsolatedAsyncioTestCase):
    """Python's asyncio at the other end."""

    async def test_its_streams_get_back_what_they_send_in_any_pieces(self):
        trusting = ssl.create_default_context(cafile=FOLDER / "ca.pem")
        data = os.urandom(3_000_000)
        with tulp_server("echo") as (port, complaints):
            async def talk(piece_size):
                reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting)

                async def send():
                    for at in range(0, size, piece_size):
                        writer.write(data[at:at + piece_size])
                        await writer.drain()
                size = min(len(data), piece_size * 2000)
                sending = asyncio.create_task(send())
                self.assertTrue(await reader.readexactly(size) == data[:size])
                await sending
                writer.close()
                await writer.wait_closed()
            await asyncio.wait_for(asyncio.gather(*map(talk, (1, 7, 1000, 16384, 16385, 100_000, 3_000_000))), 60)
        self.assertEqual(complaints, [])

    async def test_an_end_that_was_not_announced_matters_where_the_length_was_not_told(self):
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(FOLDER / "good.pem", FOLDER / "good.key")
        ends = {b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody": (0, b"body"),
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody": (56, b"body"), b"HTTP/1.1 200 OK\r\n\r\nbody": (56, b"body")}
        for reply, (code, body) in ends.items():
            async def answer(reader, writer, reply=reply):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(reply)
                writer.transport._ssl_protocol._transport.close()   # a FIN, and no close_notify
            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=serving)
            port = server.sockets[0].getsockname()[1]
            fetched = await asyncio.to_thread(fetch, port)
            self.assertEqual((fetched.returncode, fetched.stdout), (code, body), fetched.stderr)
            if code:
                self.assertIn(b"truncated", fetched.stderr)
            server.close()
            await server.wait_closed()


if __name__ == "__main__":
    unittest.main()
