"""tulp serve: what it answers to curl, to requests that curl would never send, and to clients that are slow."""
import contextlib
import email.utils
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from programs import IS_SANITIZED, SKIPPED, TULP, curl, reset, temporary_folder, tulp

HOST = b"Host: x\r\n"
GET = b"GET /page.txt HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
LONG_AGO = 1_000_000_000   # Sun, 09 Sep 2001 01:46:40 GMT
DIGITS = b"0123456789" * 10

BAD_REQUESTS = [   # what is wrong, the request, the status, a part of the answer
    ("no request", b"\x16\x03\x01\x02\x00\r\n\r\n", 400, b""), ("zeros", bytes(1000), 400, b""),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400, b"no Host"),
    ("two hosts", GET + HOST + b"\r\n", 400, b"more than one Host"),
    ("bare line feeds", b"GET / HTTP/1.1\nHost: x\n\n", 400, b"line feed"),
    ("a bare line feed among others", GET + b"X: y\n\r\n", 400, b"line feed"),
    ("a space before the colon", GET + b"X : y\r\n\r\n", 400, b""),
    ("a folded field", GET + b"X: a\r\n b\r\n\r\n", 400, b""), ("a NUL", GET + b"X: a\0\r\n\r\n", 400, b""),
    ("two lengths", GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, b""),
    ("the same length twice", GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400, b""),
    ("a negative length", GET + b"Content-Length: -1\r\n\r\n", 400, b""),
    ("a length and chunks", GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, b""),
    ("chunks and a length", GET + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, b""),
    ("chunks twice", GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, b""),
    ("chunks of HTTP/1.0", b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, b""),
    ("another encoding", GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, b"chunked"),
    ("HTTP/2", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, b""),
    ("a proxy's request", b"GET http://x/page.txt HTTP/1.1\r\n" + HOST + b"\r\n", 400, b"proxy"),
    ("a connect", b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400, b""),
    ("another method", b"POST /page.txt HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 405, b"Allow: GET, HEAD\r\n"),
    ("a large header", GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431, b"16 KiB"),
    ("many fields", GET + b"X: a\r\n" * 101 + b"\r\n", 431, b"100 fields"),
    ("a long target", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, b"8 KiB"),
    ("an endless target", b"GET /" + b"a" * 50_000, 414, b"8 KiB"),
    ("a large body", GET + b"Content-Length: 70000\r\n\r\n", 413, b"64 KiB"),
    ("another expectation", GET + b"Expect: wonders\r\n\r\n", 417, b""), ("an early end", GET + b"Hos", 400, b""),
]

OUTSIDE = [   # a target, and the statuses that are allowed
    ("/../secret.txt", {400}), ("/%2e%2e/secret.txt", {400}), ("/.%2e/secret.txt", {400}), ("/sub/../page.txt", {400}),
    ("/%2E%2E%2Fsecret.txt", {404}), ("/..%2fsecret.txt", {404}), ("/..%5csecret.txt", {404}), ("/..\\secret.txt", {404}),
    ("/%252e%252e/secret.txt", {404}), ("/%c0%ae%c0%ae/secret.txt", {404}), ("/sub/%2e%2e/%2e%2e/secret.txt", {400}),
    ("//../secret.txt", {400}), ("//etc/passwd", {404}), ("/page.txt%00.html", {400}), ("/%zz", {400}), ("/%2", {400}),
    ("/./page.txt", {400}), ("/out/secret.txt", {403}), ("/out.txt", {403}), ("/absolute", {403}), ("/proc/self/environ", {404}),
    ("/fifo", {403}), ("/socket", {403, 404}), ("/.hidden", {404}), ("/.git/config", {404}), ("/page.txt/", {404}),
    ("/page.txt/more", {404}), ("/none", {404}), ("/" + "a" * 300, {404}), ("/loop", {403}), ("/unreadable", {403} if os.getuid() else {200}),
]


class Server(unittest.TestCase):
    def setUp(self):
        self.outer = self.enterContext(temporary_folder())
        self.folder = self.outer / "site"
        self.folder.mkdir()
        (self.outer / "secret.txt").write_text("secret")
        (self.folder / "page.txt").write_bytes(DIGITS)
        (self.folder / "large.bin").write_bytes(os.urandom(3_000_000))
        (self.folder / "sub").mkdir()
        (self.folder / "sub" / "index.html").write_text("<p>index</p>")
        for name in "page.txt", "large.bin", "sub/index.html":
            os.utime(self.folder / name, (LONG_AGO, LONG_AGO))

    def enterContext(self, manager):   # Python 3.11 has it
        result = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return result

    @contextlib.contextmanager
    def serving(self, *options, ending=signal.SIGTERM, code=0):
        """Serves the folder; `self.log` is what it has written to stdout, and `self.errors` to stderr, at the end."""
        with open(self.outer / "stdout", "w+b") as out, open(self.outer / "stderr", "w+b") as errors:
            with subprocess.Popen([TULP, "serve", self.folder, "--port", "0", *options], stdout=out, stderr=errors) as process:
                try:
                    while not (line := (self.outer / "stdout").read_text()).endswith("\n") or "\n" not in line:
                        self.assertIsNone(process.poll(), (self.outer / "stderr").read_text())
                        time.sleep(0.01)
                    self.port = int(line.partition("\n")[0].rpartition(":")[2])
                    self.url = f"http://127.0.0.1:{self.port}"
                    self.process, self.is_ending = process, False
                    yield
                finally:
                    if not self.is_ending:
                        process.send_signal(ending)
                self.assertEqual(process.wait(timeout=60), code)
            self.log = (self.outer / "stdout").read_text().partition("\n")[2]
            self.errors = (self.outer / "stderr").read_text()

    def terminate(self):
        self.is_ending = True
        self.process.terminate()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, request):
        """All that comes back to `request`, after which this side is closed."""
        with self.connect() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                return stream.read()

    def get(self, target, *fields, method="GET"):
        """Status, fields by name and body of one reply."""
        lines = [f"{method} {target} HTTP/1.1", "Host: x", *fields, "Connection: close", "", ""]
        head, _, body = self.ask("\r\n".join(lines).encode()).partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body


class Requests(Server):
    def setUp(self):
        super().setUp()
        self.enterContext(self.serving())

    def test_bad_requests_are_answered_with_the_limit_and_the_connection_is_closed(self):
        for what, request, status, words in BAD_REQUESTS:
            with self.subTest(what), self.connect() as connection:
                connection.sendall(request)
                if status == 400:
                    connection.shutdown(socket.SHUT_WR)
                answer = connection.makefile("rb").read()
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer[:80])
                self.assertIn(b"\r\nConnection: close\r\n", answer)
                self.assertIn(words, answer)
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertEqual(curl(self.url + "/page.txt"), DIGITS)

    def test_nothing_from_outside_is_served(self):
        os.symlink("..", self.folder / "out")
        os.symlink("../secret.txt", self.folder / "out.txt")
        os.symlink("/etc/passwd", self.folder / "absolute")
        os.symlink("loop", self.folder / "loop")
        os.mkfifo(self.folder / "fifo")
        (self.folder / ".hidden").write_text("secret")
        (self.folder / "unreadable").write_text("x")
        (self.folder / "unreadable").chmod(0)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.folder / "socket"))
            for target, statuses in OUTSIDE:
                with self.subTest(target):
                    status, _, body = self.get(target)
                    self.assertIn(status, statuses)
                    self.assertNotIn(b"root:", body)
                    self.assertNotIn(b"secret", body)
        os.symlink("page.txt", self.folder / "inside")
        self.assertEqual(curl(self.url + "/inside"), DIGITS)

    def test_a_reply_says_what_it_carries(self):
        status, fields, body = self.get("/page.txt")
        self.assertEqual((status, body), (200, DIGITS))
        self.assertEqual(fields["Content-Type"], "text/plain; charset=utf-8")
        self.assertEqual(fields["Content-Length"], "100")
        self.assertEqual(fields["Last-Modified"], "Sun, 09 Sep 2001 01:46:40 GMT")
        self.assertEqual(fields["Accept-Ranges"], "bytes")
        self.assertRegex(fields["ETag"], '^"[0-9a-f-]+"$')
        self.assertLess(abs(email.utils.parsedate_to_datetime(fields["Date"]).timestamp() - time.time()), 5)

    def test_head_is_get_without_the_body(self):
        for target in "/page.txt", "/large.bin", "/sub/", "/sub", "/", "/none":
            with self.subTest(target):
                status, fields, _ = self.get(target)
                head_status, head_fields, head_body = self.get(target, method="HEAD")
                fields.pop("Date"), head_fields.pop("Date")
                self.assertEqual((head_status, head_fields, head_body), (status, fields, b""))
        self.assertEqual(self.get("/page.txt", "Range: bytes=0-1", method="HEAD")[0], 200)

    def test_ranges(self):
        large = (self.folder / "large.bin").read_bytes()
        for name, whole in ("page.txt", DIGITS), ("large.bin", large):
            for text, begin, end in [("0-0", 0, 1), ("5-9", 5, 10), ("90-", 90, None), ("-7", -7, None), ("-9999999", 0, None),
                                     ("50-99999999999999999999999", 50, None), ("0-", 0, None)]:
                with self.subTest(name=name, range=text):
                    status, fields, body = self.get(f"/{name}", f"Range: bytes={text}")
                    first = begin % len(whole)
                    self.assertEqual((status, body), (206, whole[begin:end]))
                    self.assertEqual(fields["Content-Range"], f"bytes {first}-{first + len(body) - 1}/{len(whole)}")
            for text in "9999999-", "-0", "9999999-99999999,8888888-", "99999999999999999999999-":
                with self.subTest(name=name, unsatisfiable=text):
                    status, fields, _ = self.get(f"/{name}", f"Range: bytes={text}")
                    self.assertEqual((status, fields["Content-Range"]), (416, f"bytes */{len(whole)}"))
            for text in "bytes=5-4", "bytes=", "bytes=a-b", "bytes=1", "lines=1-2", "bytes=--1", "bytes=-", "bytes=0-,0-", \
                        "bytes=" + ",".join(["0-0"] * 17):
                with self.subTest(name=name, ignored=text):
                    status, _, body = self.get(f"/{name}", f"Range: {text}")
                    self.assertEqual((status, body), (200, whole))
        (self.folder / "empty").write_bytes(b"")
        self.assertEqual(self.get("/empty", "Range: bytes=0-")[0], 416)
        self.assertEqual(self.get("/empty")[0::2], (200, b""))

    def test_several_ranges_come_as_parts(self):
        large = (self.folder / "large.bin").read_bytes()
        for name, whole in ("page.txt", DIGITS), ("large.bin", large):
            with self.subTest(name):
                status, fields, body = self.get(f"/{name}", "Range: bytes=0-9, 20-29 ,-5")
                boundary = re.fullmatch("multipart/byteranges; boundary=(.+)", fields["Content-Type"])[1].encode()
                self.assertEqual((status, int(fields["Content-Length"])), (206, len(body)))
                parts = body.split(b"\r\n--" + boundary)
                self.assertEqual((parts[0], parts[-1]), (b"", b"--\r\n"))
                pieces = [part.partition(b"\r\n\r\n") for part in parts[1:-1]]
                self.assertEqual([piece for _, _, piece in pieces], [whole[:10], whole[20:30], whole[-5:]])
                self.assertIn(f"Content-Range: bytes 20-29/{len(whole)}".encode(), pieces[1][0])

    def test_conditions_in_their_order_of_precedence(self):
        tag = self.get("/page.txt")[1]["ETag"]
        at, before, after = (email.utils.formatdate(LONG_AGO + offset, usegmt=True) for offset in (0, -1, 1))
        for fields, expected in [
            ([f"If-None-Match: {tag}"], 304), ([f'If-None-Match: "a", W/{tag} , "b"'], 304), (["If-None-Match: *"], 304),
            (['If-None-Match: "a"'], 200), ([f"If-Modified-Since: {at}"], 304), ([f"If-Modified-Since: {after}"], 304),
            ([f"If-Modified-Since: {before}"], 200), (["If-Modified-Since: yesterday"], 200),
            (["If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT"], 304), (["If-Modified-Since: Sun Sep  9 01:46:40 2001"], 304),
            (['If-None-Match: "a"', f"If-Modified-Since: {at}"], 200), ([f"If-Match: {tag}"], 200), (["If-Match: *"], 200),
            (['If-Match: "a"'], 412), ([f"If-Match: W/{tag}"], 412), ([f"If-Unmodified-Since: {before}"], 412),
            ([f"If-Unmodified-Since: {at}"], 200), ([f"If-Match: {tag}", f"If-Unmodified-Since: {before}"], 200),
            (['If-Match: "a"', f"If-None-Match: {tag}"], 412), ([f"If-None-Match: {tag}", "Range: bytes=0-0"], 304),
            ([f"If-Range: {tag}", "Range: bytes=0-0"], 206), (['If-Range: "a"', "Range: bytes=0-0"], 200),
            ([f"If-Range: W/{tag}", "Range: bytes=0-0"], 200), ([f"If-Range: {at}", "Range: bytes=0-0"], 206),
            ([f"If-Range: {after}", "Range: bytes=0-0"], 200), (['If-Range: "a"', "Range: bytes=999-"], 200),
        ]:
            with self.subTest(fields):
                status, answer, body = self.get("/page.txt", *fields)
                self.assertEqual(status, expected)
                self.assertEqual(answer["ETag"] if status != 412 else tag, tag)
                self.assertEqual(body if status == 304 else b"", b"")

    def test_a_change_is_seen_after_a_moment(self):
        first = self.get("/page.txt")[1]["ETag"]
        (self.folder / "page.txt").write_text("other")
        deadline = time.monotonic() + 10
        while self.get("/page.txt")[2] != b"other":
            self.assertLess(time.monotonic(), deadline)
        tag = self.get("/page.txt")[1]["ETag"]
        self.assertNotEqual(tag, first)
        self.assertTrue(tag.startswith("W/"), tag)   # there may be another change in this very second
        self.assertEqual(self.get("/page.txt", f"If-Range: {tag}", "Range: bytes=0-0")[0], 200)

    def test_connections_take_many_requests_and_pipelines_are_answered_in_order(self):
        targets = ["/page.txt", "/none", "/large.bin", "/sub/", "/page.txt"]
        request = b"".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for target in targets)
        answer = self.ask(b"\r\n" + request)
        large = (self.folder / "large.bin").read_bytes()
        rest = answer
        for part in b"200 OK", DIGITS, b"404 Not Found", b"200 OK", large, b"200 OK", b"<p>index</p>", b"200 OK", DIGITS:
            self.assertIn(part, rest)
            rest = rest.partition(part)[2]
        self.assertEqual(rest, b"")
        self.assertEqual(curl("-o", "/dev/null", "-w", " %{num_connects}", *[self.url + "/page.txt"] * 8).split()[-1:], [b"0"])

    def test_the_body_of_a_request_is_no_request(self):
        body = b"GET /none HTTP/1.1\r\n\r\n"
        for fields, sent in ((b"Content-Length: %d\r\n\r\n" % len(body), body),
                             (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))):
            answer = self.ask(GET + fields + sent + GET + CLOSE)
            self.assertEqual((answer.count(b"HTTP/1.1 200 OK"), answer.count(b"HTTP/1.1")), (2, 2))
        endless = self.ask(GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"a" * 0x8000 + b"\r\n8001\r\n" + b"a" * 0x8001)
        self.assertEqual(endless.count(b"HTTP/1.1 "), 1)

    def test_who_expects_100_continue_is_answered_at_once(self):
        answer = self.ask(GET + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"Connection: close\r\n", answer)

    def test_http_1_0(self):
        answer = self.ask(b"GET /page.txt HTTP/1.0\r\n\r\n")
        self.assertIn(b"Connection: close\r\n", answer)
        self.assertTrue(answer.endswith(DIGITS))
        kept = self.ask(b"GET /page.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        self.assertEqual(kept.count(b"Connection: keep-alive\r\n"), 2)
        self.assertEqual(curl("--http1.0", self.url + "/large.bin"), (self.folder / "large.bin").read_bytes())

    def test_a_directory_gets_its_slash_and_its_index(self):
        status, fields, _ = self.get("/sub?a=b")
        self.assertEqual((status, fields["Location"]), (301, "/sub/?a=b"))
        self.assertEqual(self.get("//sub")[1]["Location"], "/sub/")   # not another host
        status, fields, body = self.get("/sub/?a=b")
        self.assertEqual((status, fields["Content-Type"], body), (200, "text/html; charset=utf-8", b"<p>index</p>"))
        (self.folder / "a b\r\n").mkdir()
        self.assertEqual(self.get("/a%20b%0d%0a")[1]["Location"], "/a%20b%0D%0A/")

    def test_listings_are_escaped_and_lead_where_they_say(self):
        names = ['<script>alert("1")</script>'.replace("/", "_"), "a&b'c", "a b", "a%2fb", "a:b", "a?b#c", "ü", "x\ny", "..."]
        for name in names:
            (self.folder / name).write_text(name)
        pathlib.Path(os.fsdecode(bytes(self.folder) + b"/\xff")).write_text("bytes")
        (self.folder / "empty").mkdir()
        (self.folder / ".hidden").write_text("x")
        os.symlink("/etc/passwd", self.folder / "link-out")
        os.symlink("page.txt", self.folder / "link-in")
        os.mkfifo(self.folder / "fifo")
        page = self.get("/")[2]
        links = dict(re.findall(rb'<a href="([^"]*)">([^<]*)</a>', page))
        self.assertNotIn(b"<script>", page)
        self.assertNotIn(b"x\ny", page)
        for name in ".hidden", "link-out", "fifo", "...":
            self.assertNotIn(name.encode(), links)
        self.assertIn(b"link-in", links)
        self.assertIn(b"sub/", links)
        contents = {curl(f"{self.url}/{link.decode()}") for link in links if not link.endswith(b"/")}
        self.assertGreaterEqual(contents, {*(name.encode() for name in names if name != "..."), b"bytes", DIGITS})
        self.assertNotIn(b"../", links)
        self.assertIn(b'<a href="../">', self.get("/empty/")[2])

    def test_downloads_resume_and_run_side_by_side(self):
        large = (self.folder / "large.bin").read_bytes()
        part = self.outer / "part"
        part.write_bytes(large[:1_000_000])
        curl("-C", "-", "-o", part, self.url + "/large.bin")
        self.assertEqual(part.read_bytes(), large)
        curl("--parallel", "--parallel-max", "20", *(f"-o{self.outer}/copy{i}" for i in range(20)), *[self.url + "/large.bin"] * 20)
        for i in range(20):
            self.assertEqual((self.outer / f"copy{i}").read_bytes(), large)

    def test_clients_that_go_away_do_no_harm(self):
        for i in range(50):
            connection = self.connect()
            connection.sendall(b"GET /large.bin HTTP/1.1\r\n" + HOST + b"\r\n" * (1 + i % 2))
            reset(connection)
        self.assertEqual(curl(self.url + "/page.txt"), DIGITS)


class Options(Server):
    def test_bad_arguments_are_one_line_and_2(self):
        for arguments in ["--port", "70000"], ["--port", "x"], ["--workers", "-1"], ["--tls-key", "x"], ["a", "b"], ["--grace", "x"]:
            bad = tulp("serve", *arguments)
            self.assertEqual((bad.returncode, bad.stdout, bad.stderr.count(b"\n")), (2, b"", 1), bad)
        for folder, words in ("/none", b"No such file"), ("/etc/passwd", b"Not a directory"):
            bad = tulp("serve", folder)
            self.assertEqual((bad.returncode, bad.stdout, bad.stderr.count(b"\n")), (1, b"", 1), bad)
            self.assertIn(words, bad.stderr)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            bad = tulp("serve", self.folder, "--port", taken.getsockname()[1])
        self.assertEqual((bad.returncode, bad.stderr.count(b"\n")), (1, 1))
        self.assertIn(b"in use", bad.stderr)

    def test_the_access_log_has_a_line_for_each_request_that_no_client_can_break(self):
        with self.serving():
            curl("-A", "the agent", "-e", "http://x/", self.url + "/page.txt")
            self.ask(b"GET /a\xff\"\\ HTTP/1.1\r\n" + HOST + b"User-Agent: \x1b[31m\"\r\n" + CLOSE)
            self.ask(b"GET /b HTTP/1.1\r\n" + HOST + b"Referer: a\tb\xe4\"\\\r\n" + CLOSE)
            self.ask(b"\x1b]0;x\x07 \"\r\n\r\n")
        lines = self.log.splitlines()
        self.assertEqual(len(lines), 4, self.log)
        self.assertRegex(lines[0], r'^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] '
                                   r'"GET /page.txt HTTP/1.1" 200 100 "http://x/" "the agent"$')
        self.assertIn(r'"a\x09b\xe4\x22\x5c"', lines[2])
        self.assertIn(r'"\x1b]0;x\x07 \x22" 400', lines[3])
        for line in lines:
            self.assertTrue(line.isprintable() and line.isascii(), line)

    def test_the_log_goes_where_it_is_told(self):
        log = self.outer / "access"
        log.write_text("before\n")
        with self.serving("--access-log", str(log)):
            curl(self.url + "/page.txt")
        self.assertEqual((self.log, log.read_text().count("GET /page.txt"), log.read_text()[:7]), ("", 1, "before\n"))
        with self.serving("--quiet"):
            curl(self.url + "/page.txt")
            self.ask(GET + b"X: a\r\n" * 200 + b"\r\n")
        self.assertEqual((self.log, self.errors), ("", ""))
        self.assertEqual(tulp("serve", self.folder, "--port", 0, "--access-log", "/none/log").returncode, 23)
        with self.serving("--access-log", "/dev/full"):
            for _ in range(3):
                self.assertEqual(curl(self.url + "/page.txt"), DIGITS)
        self.assertIn("No space left on device", self.errors)

    def test_a_log_that_nobody_reads_any_more_ends_it_quietly_and_one_read_slowly_holds_up_nobody(self):
        with subprocess.Popen([TULP, "serve", self.folder, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.port = int(process.stdout.readline().rpartition(b":")[2])
            many = b"GET /page.txt HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n\r\n" % (b"a" * 1000) * 200
            for _ in range(3):   # more than a pipe holds
                self.assertEqual(self.ask(many).count(b"200 OK"), 200)
            process.stdout.close()
            with contextlib.suppress(OSError):   # it may end at any moment; ENOTCONN is no ConnectionError
                self.ask(GET + CLOSE)
            self.assertEqual((process.wait(timeout=30), process.stderr.read()), (23, b""))

    def test_limits_are_named_to_the_client_and_on_stderr(self):
        with self.serving("--max-requests", "3"):
            self.assertEqual(self.ask((GET + b"\r\n") * 5).count(b"200 OK"), 3)
            self.ask(GET + b"X: a\r\n" * 200 + b"\r\n")
        self.assertEqual(self.errors, "tulp serve: 127.0.0.1: 431: a header of more than 100 fields\n")
        with self.serving("--max-connections", "2"):
            with self.connect() as one, self.connect() as two:
                for connection in one, two:
                    connection.sendall(GET + b"\r\n")
                    self.assertIn(b"200 OK", connection.recv(1000))
                answer = self.ask(GET + b"\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
                self.assertIn(b"more than 2 connections", answer)
        self.assertEqual(self.errors, "tulp serve: 127.0.0.1: 503: more than 2 connections\n")

    def test_hidden_files_and_listings_as_asked(self):
        (self.folder / ".hidden").write_text("x")
        (self.folder / ".well-known").mkdir()
        (self.folder / ".well-known" / "a").write_text("known")
        with self.serving("--hidden", "--no-listing"):
            self.assertEqual((self.get("/.hidden")[2], self.get("/")[0], self.get("/sub/")[0]), (b"x", 403, 200))
            self.assertEqual(self.get("/..")[0], 400)
        with self.serving():
            self.assertEqual((self.get("/.hidden")[0], self.get("/.well-known/a")[2]), (404, b"known"))

    def test_without_the_cache_a_change_is_seen_at_once(self):
        with self.serving("--no-cache"):
            for i in range(20):
                (self.folder / "page.txt").write_text(str(i))
                self.assertEqual(self.get("/page.txt")[2], str(i).encode())

    def test_a_large_file_that_is_written_to_is_sent_as_it_is_now(self):
        with self.serving():
            for letter in b"abcdef":
                with open(self.folder / "large.bin", "r+b") as file:
                    file.truncate(0)
                    file.write(bytes([letter]) * (100_000 + letter))
                self.assertEqual(self.get("/large.bin")[2], bytes([letter]) * (100_000 + letter))

    def test_large_files_are_kept_open_for_a_moment_and_not_all_of_them(self):
        for i in range(40):
            (self.folder / f"{i}.bin").write_bytes(b"%02d" % i * 50_000)
        with self.serving():
            def open_files():
                count = 0
                for link in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
                    with contextlib.suppress(FileNotFoundError):   # closed meanwhile
                        count += str(link.readlink()).endswith(".bin")
                return count
            for _ in range(3):
                for i in range(40):
                    self.assertEqual(self.get(f"/{i}.bin")[2], b"%02d" % i * 50_000)
                    self.assertLessEqual(open_files(), 17)   # one may be on its way
            while open_files() > 0:
                time.sleep(0.01)

    def test_where_the_kernel_knows_no_openat2_nothing_is_followed_and_nothing_gets_out(self):
        strace = shutil.which("strace")
        if strace is None or IS_SANITIZED:
            self.skipTest("no strace")
        os.symlink("..", self.folder / "out")
        os.symlink("../secret.txt", self.folder / "out.txt")
        os.symlink("page.txt", self.folder / "in.txt")
        command = [strace, "-D", "-f", "-o", "/dev/null", "-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS",
                   TULP, "serve", self.folder, "--port", "0", "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                self.port = int(process.stdout.readline().rpartition(b":")[2])
                found = {target: self.get(target)[0] for target in
                         ("/page.txt", "/sub/index.html", "/sub/", "/", "/sub", "/out/secret.txt", "/out.txt", "/in.txt", "/none")}
            finally:
                process.terminate()
        self.assertEqual(list(found.values()), [200, 200, 200, 200, 301, 404, 403, 403, 404], found)

    def test_several_workers_serve_alike(self):
        with self.serving("--workers", "3"):
            for _ in range(30):
                self.assertEqual(self.get("/page.txt")[2], DIGITS)
            with self.connect() as idle:
                idle.sendall(GET + b"\r\n")
                idle.recv(1000)
                self.terminate()
                self.assertEqual(idle.recv(1000), b"")


class Time(Server):
    def test_clients_that_are_slow_are_closed_at_their_limit_and_nobody_waits_for_them(self):
        limits = ["--head-timeout", "2", "--idle-timeout", "2.5", "--send-timeout", "2.5"]
        with self.serving(*limits):
            began = time.monotonic()
            silent, head, idle, body, reader = (self.connect() for _ in range(5))
            with silent, head, idle, body, reader:
                head.sendall(b"GET / HT")
                idle.sendall(GET + b"\r\n")
                body.sendall(GET + b"Content-Length: 10\r\n\r\nabc")
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.sendall(b"GET /large.bin HTTP/1.1\r\n" + HOST + b"\r\n" + (b"GET /large.bin HTTP/1.1\r\n" + HOST + b"\r\n") * 5)
                self.assertEqual(curl(self.url + "/page.txt"), DIGITS)
                self.assertEqual(silent.recv(1000), b"")
                self.assertIn(b"408 Request Timeout", answer := head.makefile("rb").read())
                self.assertIn(b"a request's header takes longer than 2.00 s", answer)
                self.assertIn(b"200 OK", body.makefile("rb").read())
                self.assertIn(b"200 OK", idle.makefile("rb").read())
                self.assertGreater(time.monotonic() - began, 2.4)
                while "it takes less than 16 KiB" not in (self.outer / "stderr").read_text():
                    self.assertLess(time.monotonic() - began, 40)
                    time.sleep(0.05)
                with self.assertRaises(ConnectionError):
                    while reader.recv(1_000_000):
                        pass
                self.assertEqual(curl(self.url + "/page.txt"), DIGITS)
        self.assertIn("408: a request's header takes longer than 2.00 s", self.errors)
        self.assertIn("a request's body takes longer than 2.00 s", self.errors)

    def test_who_reads_slowly_but_steadily_gets_everything(self):
        with self.serving("--send-timeout", "1.5"), self.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /large.bin HTTP/1.1\r\n" + HOST + CLOSE)
            received = 0
            while data := connection.recv(65536):
                received += len(data)
                time.sleep(0.04)   # which takes longer in all
            self.assertGreater(received, 3_000_000)

    def test_a_file_that_becomes_shorter_ends_the_connection_instead_of_being_filled_up(self):
        big = self.folder / "big.bin"
        with open(big, "wb") as file:
            file.truncate(50_000_000)
        with self.serving(), self.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /big.bin HTTP/1.1\r\n" + HOST + b"\r\n")
            connection.recv(1000)
            os.truncate(big, 1_000_000)
            received = len(connection.makefile("rb").read())
            self.assertLess(received, 50_000_000)

    def test_a_file_that_is_replaced_is_sent_as_it_was(self):
        big = self.folder / "big.bin"
        big.write_bytes(b"a" * 20_000_000)
        with self.serving(), self.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /big.bin HTTP/1.1\r\n" + HOST + CLOSE)
            connection.recv(1)
            (self.folder / "new").write_bytes(b"b" * 20_000_000)
            os.replace(self.folder / "new", big)
            body = connection.makefile("rb").read().partition(b"\r\n\r\n")[2]
            self.assertEqual(body, b"a" * 20_000_000)

    def slow_download(self):
        connection = self.enterContext(self.connect())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /big.bin HTTP/1.1\r\n" + HOST + b"\r\n")
        connection.recv(1)
        return connection

    def test_sigterm_lets_what_runs_finish_and_ends_idle_connections(self):
        (self.folder / "big.bin").write_bytes(b"a" * 20_000_000)
        with self.serving(), self.connect() as idle:
            idle.sendall(GET + b"\r\n")
            self.assertIn(b"200 OK", idle.recv(1000))
            running = self.slow_download()
            self.terminate()
            self.assertEqual(idle.recv(1000), b"")
            with self.assertRaises(ConnectionError):   # refused, once it has come to that
                while True:
                    with self.connect() as late:
                        late.recv(1)
            self.assertGreater(len(running.makefile("rb").read()), 20_000_000)
        self.assertEqual(self.errors, "")

    def test_after_the_grace_what_runs_is_cut_off_with_a_word(self):
        (self.folder / "big.bin").write_bytes(b"a" * 20_000_000)
        with self.serving("--grace", "0.2"):
            running = self.slow_download()
            self.terminate()
        self.assertIn("1 connections were cut off after 200 ms", self.errors)
        with self.assertRaises(ConnectionError):
            while running.recv(1_000_000):
                pass

    def test_ctrl_c_is_130(self):
        with self.serving(ending=signal.SIGINT, code=130), self.connect() as idle:
            idle.sendall(GET + b"\r\n")
            idle.recv(1000)
        self.assertEqual(self.errors, "")


class Tls(Server):
    def test_https_is_the_same_over_tls(self):
        certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                       "-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost", "-out", self.outer / "chain.pem",
                       "-keyout", self.outer / "key.pem"]
        subprocess.run(certificate, check=True, capture_output=True)
        tls = ["--tls-cert", str(self.outer / "chain.pem"), "--tls-key", str(self.outer / "key.pem")]
        large = (self.folder / "large.bin").read_bytes()
        with self.serving(*tls):
            https = ["--cacert", self.outer / "chain.pem", "--resolve", f"localhost:{self.port}:127.0.0.1"]
            url = f"https://localhost:{self.port}"
            self.assertEqual(curl(*https, url + "/page.txt"), DIGITS)
            self.assertEqual(curl(*https, url + "/large.bin"), large)
            self.assertEqual(curl(*https, "-r", "5-9", url + "/large.bin"), large[5:10])
            self.assertEqual(curl(*https, "-o", "/dev/null", "-w", " %{num_connects}", *[url + "/page.txt"] * 3).split()[-1:], [b"0"])
            self.assertEqual(self.ask(GET + CLOSE)[:4], b"")   # plain HTTP is no TLS
            client = subprocess.run(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{self.port}"], input=GET + CLOSE,
                                    capture_output=True, timeout=30, check=False)
            self.assertTrue(client.stdout.endswith(DIGITS))
        self.assertRegex(self.errors, r"\Atulp serve: TLS handshake with 127\.0\.0\.1:\d+: the peer speaks plain HTTP.*\n\Z")
        with self.serving(*tls, "--quiet"):
            self.assertEqual(self.ask(GET + CLOSE)[:4], b"")
        self.assertEqual(self.errors, "")
        with self.serving(*tls, "--client-ca", str(self.outer / "chain.pem")):
            refused = subprocess.run(["curl", "-sSk", f"https://127.0.0.1:{self.port}/page.txt"], capture_output=True, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertEqual(curl("-k", "--cert", self.outer / "chain.pem", "--key", self.outer / "key.pem",
                                  f"https://127.0.0.1:{self.port}/page.txt"), DIGITS)


if __name__ == "__main__":
    if not shutil.which("curl"):
        sys.exit(SKIPPED)
    unittest.main()
