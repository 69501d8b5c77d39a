"""tulp fetch answers what is bad with one line on stderr and the right exit code, and leaves no file behind."""
import concurrent.futures
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from programs import RawServer, TULP, free_port, reply, reset, temporary_folder, tulp

OK = b"HTTP/1.1 200 OK\r\n"
HALF = OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 500
HALF_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500


def never(connection, _):
    """Says nothing until the client has gone."""
    connection.recv(1)


def then(first, last):
    """Sends `first`, waits until that has certainly been read, and calls `last`."""
    def answer(connection, _):
        connection.sendall(first)
        threading.Event().wait(1)
        last(connection)
    return answer


def forever(first, piece):
    def answer(connection, _):
        connection.sendall(first)
        while True:
            connection.sendall(piece)
    return answer


def stall(connection):
    connection.recv(1)


BAD_SERVERS = [   # what it is, how it answers, tulp's exit code, what the line says, what has been printed
    ("closes at once", b"", 52, "closed the connection without a reply", b""),
    ("resets at once", lambda connection, _: reset(connection), 56, "Connection reset by peer", b""),
    ("never answers", never, 28, "timed out after 3.00 s", b""),
    ("stops within the head", b"HTTP/1.1 200 OK\r\nConte", 8, "weird reply", b""),
    ("stalls within the head", then(b"HTTP/1.1 200 OK\r\nConte", stall), 28, "timed out", b""),
    ("closes within the body", HALF, 18, "ended early, 500 of 1000 bytes received", b"x" * 500),
    ("resets within the body", then(HALF, reset), 56, "reset by peer, 500 of 1000 bytes received", b"x" * 500),
    ("stalls within the body", then(HALF, stall), 28, "timed out after 3.00 s, 500 of 1000 bytes", b"x" * 500),
    ("closes within a chunk", HALF_CHUNKED, 18, "ended early, 500 bytes received", b"x" * 500),
    ("closes between chunks", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", 18, "ended early", b"x"),
    ("speaks SSH", b"SSH-2.0-OpenSSH_9.2\r\n", 8, "weird reply", b""),
    ("sends garbage", bytes(range(256)) * 4, 8, "weird reply", b""),
    ("sends zeros", bytes(1_000_000), 8, "weird reply", b""),
    ("speaks HTTP/0.9", b"<html>hello</html>\r\n\r\n", 8, "weird reply", b""),
    ("speaks HTTP/2", b"HTTP/2 200\r\n\r\n", 8, "weird reply", b""),
    ("has no status", b"HTTP/1.1 abc OK\r\n\r\n", 8, "weird reply", b""),
    ("has a NUL in a field", OK + b"X: a\0b\r\n\r\n", 8, "weird reply", b""),
    ("has a negative length", OK + b"Content-Length: -5\r\n\r\nabc", 8, "weird reply", b""),
    ("has a length beyond all", OK + b"Content-Length: 99999999999999999999999\r\n\r\nabc", 8, "weird reply", b""),
    ("has two lengths", OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 8, "weird reply", b""),
    ("has a length and chunks", OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 8, "weird reply", b""),
    ("has a bad chunk size", OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", 8, "weird reply: bad chunk", b""),
    ("has a chunk size beyond all", OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n", 8, "weird", b""),
    ("has a bad end of a chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 8, "weird reply", b"a"),
    ("has 10 MB of header", OK + b"X: " + b"a" * 10_000_000 + b"\r\n\r\n", 8, "more than 64 KiB", b""),
    ("has 200,000 headers", OK + b"X: a\r\n" * 200_000 + b"\r\n", 8, "more than 64 KiB", b""),
    ("never ends its header", forever(OK, b"X: a\r\n"), 8, "more than 64 KiB", b""),
    ("never ends a chunk's line", forever(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"), 8, "64 KiB", b""),
    ("never ends its trailer", forever(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"), 8, "64 KiB", b""),
    ("sends interim replies for ever", forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 8, "more than 16 interim", b""),
    ("redirects to itself", reply(b"", "Location: /", status="302 Found"), 47, "more than 10 redirects", b""),
    ("redirects to a file", reply(b"", "Location: file:///etc/passwd", status="302 Found"), 1,
     "redirected to file:///etc/passwd: the scheme file is not supported", b""),
    ("redirects to ftp", reply(b"", "Location: ftp://localhost/", status="301 Moved"), 1, "ftp is not", b""),
    ("changes the protocol", OK.replace(b"200 OK", b"101 Switching Protocols") + b"Upgrade: x\r\n\r\n", 8, "another protocol",
     b""),
    ("redirects to nowhere", reply(b"", "Location: http://:0/", status="301 Moved"), 3, "malformed URL", b""),
]

BAD_URLS = [   # and what is wrong with them
    ("", 3, "no scheme"), ("localhost", 3, "no scheme"), ("localhost:80/", 3, "no scheme"),
    ("/etc/passwd", 3, "no scheme"), ("//localhost/", 3, "no scheme"), ("http:/localhost/", 3, "no scheme"), ("1http://localhost/", 3, "no scheme"),
    ("http://", 3, "no host"), ("http:///x", 3, "no host"), ("http://:80", 3, "no host"), ("http://?x", 3, "no host"),
    ("http://[::1", 3, "no ']'"), ("http://[::1]x/", 3, "between ']' and the port"), ("http://[::g]/", 3, "bad IPv6"),
    ("http://[127.0.0.1]/", 3, "bad IPv6"), ("http://[]/", 3, "bad IPv6"), ("http://::1/", 3, "no host"),
    ("http://a b/", 3, "space"), ("http://localhost/a b", 3, "space"), ("http://localhost/\r\nX: y", 3, "control"),
    ("http://localhost/\x7f", 3, "control"), ("http://lo\\cal/", 3, "bad character"),
    ("http://l%6fcalhost/", 3, "bad character"),
    ("http://münchen.de/", 3, "bad character"), ("http://localhost:0/", 3, "between 1 and 65535"),
    ("http://localhost:65536/", 3, "between 1 and 65535"),
    ("http://localhost:99999999999999999999/", 3, "between 1 and 65535"),
    ("http://localhost:-1/", 3, "not a number"), ("http://localhost:abc/", 3, "not a number"),
    ("http://localhost:80x/", 3, "not a number"), ("http://me@localhost/", 3, "user name"),
    ("http://me:secret@localhost/", 3, "user name"),
    ("ftp://localhost/", 1, "scheme ftp"), ("file:///etc/passwd", 1, "scheme file"),
    ("FILE:///etc/passwd", 1, "scheme file"),
]

BAD_ARGUMENTS = [
    [], ["--bogus", "http://localhost/"], ["--timeout"], ["--timeout", "0", "http://x/"],
    ["--timeout", "-1", "http://x/"],
    ["--timeout", "nan", "http://x/"], ["--timeout", "soon", "http://x/"], ["--max-redirs", "-1", "http://x/"],
    ["-o", "file", "http://x/", "http://y/"], ["-o"], ["--connect-timeout", "0", "http://x/"],
    ["--max-size", "-1", "http://x/"], ["--max-size", "much", "http://x/"], ["--jobs", "0", "http://x/"],
    ["--jobs", "1001", "http://x/"], ["--jobs", "x", "http://x/"], ["-4", "-6", "http://x/"],
]


class FetchTest(unittest.TestCase):
    def assert_fails(self, result, code, *words):
        """With this exit code and one line, which has these words."""
        line = result.stderr.decode()
        self.assertEqual((result.returncode, line.count("\n")), (code, 1), line)
        self.assertTrue(line.startswith("tulp fetch: ") and line.endswith("\n"), line)
        self.assertTrue(line[:-1].isprintable(), line)
        for word in words:
            self.assertIn(word, line)


class Errors(FetchTest):
    def test_bad_servers(self):
        def fetch_from(answer, code):
            with temporary_folder() as folder, RawServer(answer) as server:
                limit = [] if code != 28 else ["--timeout", "3"]
                printed = tulp("fetch", server.url, *limit)
                written = tulp("fetch", server.url, *limit, "-o", folder / "file")
                return server.url, printed, written, list(folder.iterdir())
        with concurrent.futures.ThreadPoolExecutor(8) as pool:   # most of it is waiting
            fetched = [pool.submit(fetch_from, answer, code) for _, answer, code, *_ in BAD_SERVERS]
        for (what, _, code, words, body), one in zip(BAD_SERVERS, fetched):
            with self.subTest(what):
                url, printed, written, files = one.result()
                self.assert_fails(printed, code, f"tulp fetch: {url}: ", words)
                self.assertEqual(printed.stdout, body)
                self.assert_fails(written, code, f"tulp fetch: {url}: ", words)
                self.assertEqual((written.stdout, files), (b"", []))

    def test_a_body_larger_than_is_wanted(self):
        for answer, words in ((reply(bytes(1001)), "1001 bytes are more than --max-size 1000"),
                              (OK + b"\r\n" + bytes(1001), "there is more than --max-size 1000"),
                              (forever(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100\r\n" + bytes(256) + b"\r\n"),
                               "there is more than --max-size 1000")):
            with self.subTest(words), temporary_folder() as folder, RawServer(answer) as server:
                self.assert_fails(tulp("fetch", "--max-size", 1000, server.url, "-o", folder / "file"), 63, words)
                self.assertEqual(list(folder.iterdir()), [])
                fetched = tulp("fetch", "--max-size", 1000, server.url)
                self.assert_fails(fetched, 63, words)
                self.assertLessEqual(len(fetched.stdout), 1000)
        with RawServer(reply(bytes(1024))) as server:
            for size in 1024, "1k", "1K", "1kb":
                self.assertEqual(tulp("fetch", "--max-size", size, server.url).returncode, 0)

    def test_the_page_of_a_redirect_may_be_broken_or_without_end(self):
        def stall_there(connection, request):
            if b" /there " in request:
                return connection.sendall(reply(b"page"))
            connection.sendall(reply(bytes(1000), "Location: /there", status="302 Found")[:-1])
            return connection.recv(1)
        with RawServer(stall_there) as server:
            self.assertEqual(tulp("fetch", server.url).stdout, b"page")
        for body in b"Content-Length: 1000\r\n\r\nx", b"\r\n" + bytes(100_000), b"Transfer-Encoding: chunked\r\n\r\nzz":
            redirection = OK.replace(b"200 OK", b"302 Found") + b"Location: /there\r\n" + body

            def answer(connection, request, redirection=redirection):
                connection.sendall(reply(b"page") if b" /there " in request else redirection)
            with self.subTest(body[:40]), RawServer(answer) as server:
                self.assertEqual(tulp("fetch", server.url).stdout, b"page")

    def test_compressed_content_that_nobody_asked_for_is_kept_as_it_is(self):
        body = b"\x1f\x8b" + os.urandom(1000)
        with RawServer(reply(body, "Content-Encoding: gzip")) as server:
            self.assertEqual(tulp("fetch", server.url).stdout, body)

    def test_a_server_that_never_completes_the_connection(self):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            waiting = []
            for _ in range(3):   # until the queue is full, and what more comes is not answered
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(("127.0.0.1", port))
            fetched = tulp("fetch", f"http://127.0.0.1:{port}/", "--connect-timeout", "0.3")
            self.assert_fails(fetched, 28, "connecting timed out after 300 ms")
            fetched = tulp("fetch", f"http://127.0.0.1:{port}/", "--timeout", "0.3")
            self.assert_fails(fetched, 28, "/: timed out after 300 ms")
            for connection in waiting:
                connection.close()

    def test_a_handshake_that_never_ends_is_connecting_too(self):
        with RawServer(never) as server:
            fetched = tulp("fetch", server.url.replace("http:", "https:"), "--connect-timeout", "0.3")
            self.assert_fails(fetched, 28, "connecting timed out after 300 ms")

    def test_bad_urls(self):
        for url, code, words in BAD_URLS:
            with self.subTest(url), temporary_folder() as folder:
                self.assert_fails(tulp("fetch", url, "-o", folder / "file"), code, words)
                self.assertEqual(list(folder.iterdir()), [])

    def test_bad_arguments(self):
        for arguments in BAD_ARGUMENTS:
            with self.subTest(arguments):
                self.assert_fails(tulp("fetch", *arguments), 2)

    def test_an_unknown_host(self):
        self.assert_fails(tulp("fetch", "http://no-such-host.invalid/"), 6, "http://no-such-host.invalid/: ")

    def test_a_refused_port(self):
        port = free_port()
        result = tulp("fetch", f"http://127.0.0.1:{port}/x")
        self.assert_fails(result, 7, f"http://127.0.0.1:{port}/x: connect 127.0.0.1:{port}: Connection refused")

    def test_a_server_that_accepts_and_is_never_heard_of(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            begin = time.monotonic()
            result = tulp("fetch", f"http://127.0.0.1:{listener.getsockname()[1]}/", "--timeout", "0.5")
            self.assert_fails(result, 28, "timed out after 500 ms")
            self.assertGreaterEqual(time.monotonic() - begin, 0.5)


class Outputs(FetchTest):
    def test_files_that_cannot_be_written_and_no_request_is_sent(self):
        with temporary_folder() as folder, RawServer(reply(b"page")) as server:
            (folder / "folder").mkdir()
            for path, why in [
                (folder / "none" / "file", "No such file or directory"), ("", "No such file or directory"),
                (folder / "folder", "Is a directory"), (folder / ("n" * 256), "File name too long"),
            ]:
                with self.subTest(path):
                    self.assert_fails(tulp("fetch", server.url, "-o", path), 23, f"{path}: {why}")
            self.assertEqual(server.requests, [])
            self.assertEqual([path.name for path in folder.iterdir()], ["folder"])

    @unittest.skipIf(os.geteuid() == 0, "root may write everything")
    def test_a_file_without_permission(self):
        with temporary_folder() as folder, RawServer(reply(b"page")) as server:
            (folder / "file").write_bytes(b"old")
            (folder / "file").chmod(0o400)
            self.assert_fails(tulp("fetch", server.url, "-o", folder / "file"), 23, "Permission denied")
            self.assertEqual((folder / "file").read_bytes(), b"old")

    def test_a_full_disk(self):
        with RawServer(reply(b"page")) as server:
            self.assert_fails(tulp("fetch", server.url, "-o", "/dev/full"), 23, "/dev/full: No space left on device")
            with open("/dev/full", "wb") as full:
                result = subprocess.run([TULP, "fetch", server.url], stdout=full, stderr=subprocess.PIPE, check=False)
            self.assert_fails(result, 23, "stdout: No space left on device")

    def test_a_reader_that_has_enough_is_no_error_to_speak_of(self):
        with RawServer(reply(bytes(10_000_000))) as server:
            command = [TULP, "fetch", server.url, server.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.stdout.read(1)
                process.stdout.close()
                self.assertEqual((process.wait(timeout=30), process.stderr.read()), (23, b""))

    def test_a_closed_stdout_is_not_a_socket_of_ours(self):
        with RawServer(reply(b"page")) as server:
            result = tulp("fetch", server.url, preexec_fn=lambda: os.close(1))
            self.assert_fails(result, 23, "stdout: Bad file descriptor")

    def test_a_file_that_stands_is_kept_when_the_fetch_fails(self):
        with temporary_folder() as folder, RawServer(HALF) as server:
            (folder / "file").write_bytes(b"old")
            self.assert_fails(tulp("fetch", server.url, "-o", folder / "file"), 18)
            self.assertEqual((folder / "file").read_bytes(), b"old")
            self.assertEqual(len(list(folder.iterdir())), 1)


class Signals(FetchTest):
    def test_ctrl_c_and_sigterm_end_it_quietly_and_leave_no_file(self):
        for number, code in (signal.SIGINT, 130), (signal.SIGTERM, 143):
            with self.subTest(number), temporary_folder() as folder, RawServer(then(HALF, stall)) as server:
                command = [TULP, "fetch", server.url, "-o", folder / "file"]
                with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
                    while not any(path.stat().st_size for path in folder.iterdir()):
                        time.sleep(0.01)
                    process.send_signal(number)
                    self.assertEqual((process.wait(timeout=30), process.stderr.read()), (code, b""))
                self.assertEqual(list(folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
