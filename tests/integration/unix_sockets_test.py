"""Unix sockets with real programs on the other end: nc, socat, curl and asyncio."""
import asyncio
import functools
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import unittest

from programs import QuietHandler, RawServer, TULP, curl, reply, serving, temporary_folder, tulp


class UnixHttpServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """http.server on a Unix socket."""
    daemon_threads = True

    class Handler(QuietHandler):
        def address_string(self):
            return "a Unix socket"


class FolderTest(unittest.TestCase):
    def setUp(self):
        manager = temporary_folder()
        self.folder = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        self.path = self.folder / "socket"


class Echo(FolderTest):
    def run_client(self, *command):
        if shutil.which(command[0]) is None:
            self.skipTest(f"no {command[0]}")
        data = os.urandom(300_000)
        result = subprocess.run(command, input=data, capture_output=True, timeout=60, check=True)
        self.assertTrue(result.stdout == data)

    def test_nc(self):
        with serving("echo", "--unix", self.path) as where:
            self.assertEqual(where, f"unix:{self.path}")
            self.run_client("nc", "-N", "-U", self.path)

    def test_socat(self):
        with serving("echo", "--unix", self.path):
            self.run_client("socat", "-t30", "-", f"UNIX-CONNECT:{self.path}")

    def test_an_abstract_name(self):
        name = f"tulp-test-{os.getpid()}"
        with serving("echo", "--unix", f"@{name}") as where:
            self.assertEqual(where, f"unix:@{name}")
            self.run_client("socat", "-t30", "-", f"ABSTRACT-CONNECT:{name}")

    def test_many_asyncio_clients_at_once(self):
        async def talk(index):
            reader, writer = await asyncio.open_unix_connection(self.path)
            data = os.urandom(20_000 + index)
            writer.write(data)
            writer.write_eof()
            self.assertTrue(await reader.read() == data)
            writer.close()
            await writer.wait_closed()

        async def talk_at_once():
            await asyncio.gather(*(talk(index) for index in range(100)))

        with serving("echo", "--unix", self.path):
            asyncio.run(talk_at_once())

    def test_the_file_is_gone_after_the_end_and_a_stale_one_is_replaced(self):
        with serving("echo", "--unix", self.path):
            self.assertTrue(self.path.is_socket())
        self.assertFalse(self.path.exists())
        with subprocess.Popen([TULP, "echo", "--unix", self.path], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            process.kill()
        self.assertTrue(self.path.is_socket())   # nobody was there to remove it
        with serving("echo", "--unix", self.path), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))

    def test_errors(self):
        (self.folder / "file").write_text("precious")
        with serving("echo", "--unix", self.path):
            for arguments, code, words in [
                ([self.path], 1, "Address already in use"), ([self.folder / "file"], 1, "Address already in use"),
                ([self.folder / "no" / "folder"], 1, "No such file"), ([self.folder / ("x" * 100)], 2, "107 bytes"),
                ([""], 2, "--unix"), ([self.path, "--port", "0"], 2, "--port excludes --unix"),
            ]:
                with self.subTest(arguments):
                    result = tulp("echo", "--unix", *arguments)
                    self.assertEqual((result.returncode, result.stderr.count(b"\n")), (code, 1))
                    self.assertIn(words, result.stderr.decode())
            self.assertTrue(self.path.is_socket())
        self.assertEqual((self.folder / "file").read_text(), "precious")


class Fetch(FolderTest):
    def serve(self, folder):
        server = UnixHttpServer(str(self.path), functools.partial(UnixHttpServer.Handler, directory=folder))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)

    def test_files_of_a_server_on_a_unix_socket_are_what_curl_gets(self):
        with temporary_folder() as folder:
            (folder / "big").write_bytes(os.urandom(5 << 20))
            self.serve(folder)
            for name in "big", "", "no-such-file":
                url = f"http://host.example/{name}"
                fetched = tulp("fetch", "--unix-socket", self.path, url)
                self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
                self.assertTrue(fetched.stdout == curl("--unix-socket", self.path, url))

    def test_a_server_in_asyncio_on_an_abstract_name(self):
        name = f"tulp-test-{os.getpid()}"
        requests = []

        async def answer(reader, writer):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply(b"hello"))
            writer.close()

        async def fetch():
            async with await asyncio.start_unix_server(answer, f"\0{name}"):
                return await asyncio.to_thread(tulp, "fetch", "--unix-socket", f"@{name}", "http://host.example/x")

        self.assertEqual(asyncio.run(fetch()).stdout, b"hello")
        self.assertIn(b"Host: host.example\r\n", requests[0])   # the URL's, wherever the connection goes

    def test_errors(self):
        for arguments, code, words in [
            (["--unix-socket", self.folder / "nothing"], 7, "No such file"),
            (["--unix-socket", ""], 2, "--unix-socket"),
            (["--unix-socket", self.path, "-4"], 2, "excludes"), (["-4", "-6"], 2, "excludes"),
        ]:
            with self.subTest(arguments):
                result = tulp("fetch", *arguments, "http://host.example/")
                self.assertEqual((result.returncode, result.stderr.count(b"\n")), (code, 1))
                self.assertIn(words, result.stderr.decode())


class Families(unittest.TestCase):
    def test_only_the_family_that_was_asked_for_is_used(self):
        with RawServer(reply(b"four")) as four:
            url = f"http://localhost:{four.port}/"
            self.assertEqual(tulp("fetch", "-4", url).stdout, b"four")
            self.assertIn(tulp("fetch", "-6", url).returncode, (6, 7))   # no such address, or nobody there
            self.assertEqual(tulp("fetch", "-6", f"http://127.0.0.1:{four.port}/").returncode, 6)
        with RawServer(reply(b"six"), host="::1") as six:
            self.assertEqual(tulp("fetch", "-6", f"http://[::1]:{six.port}/").stdout, b"six")
            self.assertEqual(tulp("fetch", "-4", f"http://[::1]:{six.port}/").returncode, 6)


if __name__ == "__main__":
    unittest.main()
