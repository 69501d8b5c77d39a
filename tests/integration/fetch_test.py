"""tulp fetch brings what curl brings: from http.server, from our own server, and from servers made for the occasion."""
import os
import pathlib
import re
import threading
import unittest

from programs import RawServer, TULP, curl, listening, on_terminal, python_server, reply, temporary_folder, tulp

MEGABYTE = os.urandom(1 << 20)


class Bodies(unittest.TestCase):
    def assert_like_curl(self, url, *options):
        fetched = tulp("fetch", url, *options)
        self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
        self.assertEqual(fetched.stdout, curl("-L", url, *options))
        return fetched.stdout

    def test_files_of_http_server_are_what_curl_gets(self):
        with temporary_folder() as folder:
            for name, data in {"empty": b"", "one": b"x", "page.txt": b"hello\n", "big": MEGABYTE * 5}.items():
                (folder / name).write_bytes(data)
            with python_server(folder) as port:
                for name in "empty", "one", "page.txt", "big", "", "no-such-file":
                    with self.subTest(name):
                        self.assert_like_curl(f"http://127.0.0.1:{port}/{name}")

    def test_pages_of_our_own_server_are_what_curl_gets(self):
        with listening("demo", "--serve", "--pages", 13) as port:
            for index in range(12):   # the last one breaks off
                for kind in "small", "large", "chunked", "moved", "none":
                    self.assert_like_curl(f"http://127.0.0.1:{port}/{kind}/{index}")

    def test_a_body_in_chunks_of_every_cut(self):
        body = bytes(range(256)) * 20
        chunks = b"".join(b"%x;name=value\r\n%s\r\n" % (size, body[:size]) for size in (1, 2, 255, 256, 5000))
        text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: yes\r\n\r\n"
        expected = b"".join(body[:size] for size in (1, 2, 255, 256, 5000))
        for piece in 1, 7, 4096:
            def send_in_pieces(connection, _, piece=piece):
                for begin in range(0, len(text), piece):
                    connection.send(text[begin:begin + piece])
            with self.subTest(piece=piece), RawServer(send_in_pieces) as server:
                self.assertEqual(tulp("fetch", server.url).stdout, expected)

    def test_the_last_chunk_byte_by_byte(self):
        def send(connection, _):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in b"0\r\n\r\n":
                threading.Event().wait(0.02)   # so that each comes alone
                connection.sendall(bytes([byte]))
        with RawServer(send) as server:
            fetched = tulp("fetch", server.url)
            self.assertEqual((fetched.returncode, fetched.stdout, fetched.stderr), (0, b"", b""))

    def test_a_body_that_ends_with_the_connection(self):
        with RawServer(b"HTTP/1.0 200 OK\r\n\r\n" + MEGABYTE) as server:
            self.assertEqual(tulp("fetch", server.url).stdout, MEGABYTE)

    def test_interim_replies_are_skipped(self):
        with RawServer(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + reply(b"page")) as server:
            self.assertEqual(tulp("fetch", server.url).stdout, b"page")

    def test_replies_without_a_body(self):
        for status in "204 No Content", "304 Not Modified":
            with self.subTest(status), RawServer(f"HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n".encode()) as server:
                fetched = tulp("fetch", server.url)
                self.assertEqual((fetched.returncode, fetched.stdout, fetched.stderr), (0, b"", b""))


class Options(unittest.TestCase):
    def test_include_prints_every_head_as_it_came(self):
        text = reply(b"gone", "Location: /there", status="302 Found")
        page = b"HTTP/1.1 200 OK\r\nContent-length:4\r\nX-odd:   spaces  \r\n\r\npage"
        with RawServer(lambda connection, request: connection.sendall(page if b"there" in request else text)) as server:
            fetched = tulp("fetch", "-i", server.url)
            self.assertEqual(fetched.stdout, text[:-4] + page)
            self.assertEqual(fetched.stdout, curl("-iL", server.url))

    def test_output_takes_the_place_of_a_file_and_keeps_its_mode(self):
        with temporary_folder() as folder, RawServer(reply(b"new")) as server:
            file = folder / "file"
            file.write_bytes(b"old and longer")
            file.chmod(0o640)
            self.assertEqual(tulp("fetch", server.url, "-o", file).returncode, 0)
            self.assertEqual((file.read_bytes(), file.stat().st_mode & 0o777), (b"new", 0o640))
            self.assertEqual(list(folder.iterdir()), [file])

    def test_output_makes_a_file_that_the_umask_allows(self):
        with temporary_folder() as folder, RawServer(reply(b"new")) as server:
            file = folder / ("n" * 255)
            self.assertEqual(tulp("fetch", server.url, "-o", file, umask=0o027).returncode, 0)
            self.assertEqual((file.read_bytes(), file.stat().st_mode & 0o777), (b"new", 0o640))

    def test_output_follows_a_symbolic_link(self):
        with temporary_folder() as folder, RawServer(reply(b"new")) as server:
            (folder / "file").write_bytes(b"old")
            (folder / "link").symlink_to("file")
            self.assertEqual(tulp("fetch", server.url, "-o", folder / "link").returncode, 0)
            self.assertTrue((folder / "link").is_symlink())
            self.assertEqual((folder / "file").read_bytes(), b"new")

    def test_output_writes_into_a_device_and_leaves_it_there(self):
        with RawServer(reply(b"new")) as server:
            self.assertEqual(tulp("fetch", server.url, "-o", "/dev/null").returncode, 0)
            self.assertTrue(pathlib.Path("/dev/null").is_char_device())

    def test_output_minus_is_stdout(self):
        with RawServer(reply(b"page")) as server:
            self.assertEqual(tulp("fetch", server.url, "-o", "-").stdout, b"page")

    def test_output_is_not_seen_before_it_is_complete(self):
        with temporary_folder() as folder:
            seen = []

            def send_slowly(connection, _):
                connection.sendall(reply(b"ab")[:-1])
                for _ in range(100):
                    seen.extend(path.name for path in folder.iterdir())
                    if seen:
                        break
                    threading.Event().wait(0.02)
                connection.sendall(b"b")
            with RawServer(send_slowly) as server:
                self.assertEqual(tulp("fetch", server.url, "-o", folder / "file").returncode, 0)
            self.assertRegex(" ".join(seen), r"^file\.[a-z]{6}\.part$")
            self.assertEqual((folder / "file").read_bytes(), b"ab")

    def test_the_number_of_redirects_has_a_limit(self):
        def count_down(connection, request):
            left = int(request.split(b"/")[1].split()[0])
            connection.sendall(reply(b"", f"Location: /{left - 1}", status="301 Moved") if left else reply(b"page"))
        with RawServer(count_down) as server:
            self.assertEqual(tulp("fetch", server.url + "/10").stdout, b"page")
            self.assertEqual(tulp("fetch", server.url + "/11").returncode, 47)
            self.assertEqual(tulp("fetch", server.url + "/11", "--max-redirs", 11).stdout, b"page")
            self.assertEqual(tulp("fetch", server.url + "/1", "--max-redirs", 0).returncode, 47)


def slowly(body, *fields, until=threading.Event(), seconds=0.5):
    """Sends all but the last byte, and that a moment later, or when `until` is set."""
    def answer(connection, _):
        connection.sendall(reply(body, *fields)[:-1])
        until.wait(seconds)
        connection.sendall(body[-1:])
    return answer


class Progress(unittest.TestCase):
    def lines(self, text):
        """Those that were shown at one time or another, without what moves the cursor."""
        return [line.rstrip() for line in re.split(r"\r|\n|\x1b\[[0-9]*[A-Z]", text) if line.strip()]

    def awaited(self, pattern):
        """An event, and what to look at a terminal with, to set it when there is such a line."""
        is_seen = threading.Event()

        def look(text):
            if any(re.match(pattern, line) for line in self.lines(text)):
                is_seen.set()
        return is_seen, look

    def test_a_terminal_sees_a_bar_unless_it_sees_the_body(self):
        is_seen, look = self.awaited(r"file +\[=+> *\]   99 %    5.0 kB  +[0-9.]+ k?B/s  +0:0[01] left$")
        with temporary_folder() as folder, RawServer(slowly(b"x" * 5000, until=is_seen, seconds=30)) as server:
            text, code = on_terminal("fetch", server.url, "-o", str(folder / "file"), look=look)
            self.assertEqual((code, is_seen.is_set()), (0, True), text)
            self.assertTrue(text.endswith("\r\x1b[J"), text)   # nothing of it stays
            self.assertEqual(on_terminal("fetch", server.url), ("x" * 5000, 0))
            for args, environment in (["--silent"], {}), ([], {"TERM": "dumb"}):
                self.assertEqual(on_terminal("fetch", *args, server.url, "-o", str(folder / "file"), **environment), ("", 0))

    def test_no_line_is_wider_than_the_terminal_and_no_display_higher(self):
        with temporary_folder() as folder, RawServer(slowly(b"x" * 5000)) as server:
            outputs = [arg for i in range(5) for arg in ("-o", str(folder / f"{i}-a-long-name-with-ümlauts"))]
            for rows, columns in (24, 80), (24, 40), (24, 20), (4, 40), (1, 3), (24, 200):
                with self.subTest(columns=columns, rows=rows):
                    text, code = on_terminal("fetch", *outputs, *[server.url] * 5, size=(rows, columns))
                    self.assertEqual(code, 0)
                    self.assertLess(max(map(len, self.lines(text))), columns)
                    self.assertLess(max(part.count("\n") for part in text.split("\r\x1b")), max(rows - 1, 1))

    def test_a_length_that_is_not_known_has_no_percentage(self):
        is_seen, look = self.awaited(r"file +\[<=> +\]  +5.0 kB  +[0-9.]+ k?B/s$")

        def answer(connection, _):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)
            is_seen.wait(30)
        with temporary_folder() as folder, RawServer(answer) as server:
            text, code = on_terminal("fetch", server.url, "-o", str(folder / "file"), look=look)
            self.assertEqual((code, is_seen.is_set()), (0, True), text)

    def test_what_was_there_counts_when_it_is_gone_on_with(self):
        is_seen, look = self.awaited(r"file +\[=+> *\]   99 %   10.0 kB  ")
        rest = slowly(b"x" * 5000, "Content-Range: bytes 5000-9999/10000", until=is_seen, seconds=30)

        def answer(connection, request):
            rest(Replacing(connection, b"200 OK", b"206 Partial Content"), request)
        with temporary_folder() as folder, RawServer(answer) as server:
            (folder / "file").write_bytes(b"x" * 5000)
            text, code = on_terminal("fetch", "-C", "-", server.url, "-o", str(folder / "file"), look=look)
            self.assertEqual((code, is_seen.is_set()), (0, True), text)

    def test_several_have_a_sum_and_a_failure_is_told_above(self):
        def answer(connection, request):
            if b"/bad" not in request:
                slowly(b"x" * 5000)(connection, request)
        with temporary_folder() as folder, RawServer(answer) as server:
            text, code = on_terminal("fetch", "-o", str(folder / "a"), server.url, "-o", "/dev/null", server.url + "/bad",
                                     "-o", str(folder / "c"), server.url)
            self.assertEqual(code, 52)
            lines = self.lines(text)
            self.assertRegex(lines[-1], r"^[1-3] of 3 done, 10.0 kB, [0-9.]+ k?B/s$")
            self.assertEqual(len([line for line in lines if line.startswith(f"tulp fetch: {server.url}/bad: ")]), 1)


class Replacing:
    """A connection on which the first thing sent has something else in it."""

    def __init__(self, connection, old, new):
        self.connection, self.old, self.new = connection, old, new

    def sendall(self, data):
        self.connection.sendall(data.replace(self.old, self.new, 1))


class SeveralUrls(unittest.TestCase):
    def test_all_are_asked_at_once_and_printed_in_order(self):
        count = 50
        everybody_is_here = threading.Barrier(count)

        def answer(connection, request):
            index = int(request.split(b"/")[1].split()[0])
            everybody_is_here.wait(timeout=30)
            threading.Event().wait((count - index) * 0.002)   # the last one is answered first
            connection.sendall(reply(b"%d " % index * 20_000))
        with RawServer(answer) as server:
            fetched = tulp("fetch", *(f"{server.url}/{index}" for index in range(count)))
        self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
        self.assertEqual(fetched.stdout, b"".join(b"%d " % index * 20_000 for index in range(count)))

    def test_one_that_hangs_does_not_hold_up_the_others(self):
        others_are_done = threading.Event()

        def answer(connection, request):
            if b"/slow" in request:
                others_are_done.wait(timeout=30)
                connection.sendall(reply(b"slow"))
                return
            connection.sendall(reply(MEGABYTE))
            connection.recv(1)   # the client has read everything and closes
            others_are_done.set()
        with RawServer(answer) as server:
            fetched = tulp("fetch", server.url + "/slow", server.url + "/fast")
        self.assertEqual(fetched.stdout, b"slow" + MEGABYTE)

    def test_each_failure_has_its_line_and_the_first_its_exit_code(self):
        with RawServer(lambda connection, request: connection.sendall(reply(b"page"))) as server:
            fetched = tulp("fetch", server.url, "gopher://x/", server.url, "http://", server.url)
        self.assertEqual((fetched.returncode, fetched.stdout), (1, b"page" * 3))
        complaints = sorted(line.split()[2] for line in fetched.stderr.splitlines())
        self.assertEqual(complaints, [b"gopher://x/:", b"http://:"])

    def test_there_may_be_more_than_run_at_a_time(self):
        with RawServer(reply(b"x")) as server:
            self.assertEqual(tulp("fetch", *[server.url] * 1000).stdout, b"x" * 1000)


if __name__ == "__main__":
    print(f"testing {TULP}")
    unittest.main()
