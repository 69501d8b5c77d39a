"""What tulp fetch sends: methods, headers and data as curl's users give them, and what of it goes where a redirect leads."""
import subprocess
import threading
import unittest

from programs import RawServer, TULP, curl, reply, temporary_folder, tulp


class Asked(RawServer):
    """Keeps whole requests, with their bodies, and answers with `answers` in turn, the last one again and again.  A
    connection is kept for as long as the client likes."""

    def __init__(self, *answers, host="127.0.0.1"):
        super().__init__(self.converse, host)
        self.answers = list(answers) or [reply(b"page")]
        self.messages = []
        self.connection_count = 0

    def converse(self, connection, data):
        self.connection_count += 1
        while data:
            head, _, body = data.partition(b"\r\n\r\n")
            fields = fields_of(head)
            while len(body) < int(fields.get("content-length", "0")):
                body += connection.recv(65536)
            self.messages.append((head.decode("latin-1").split("\r\n")[0], fields, body))
            connection.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := connection.recv(65536)):
                    return
                data += more


def fields_of(head):
    return {name.lower(): value for name, value in
            (line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])}


def redirect(status, location):
    return reply(b"elsewhere", f"Location: {location}", status=f"{status} There")


class Requests(unittest.TestCase):
    def ask(self, *args, **options):
        with Asked() as server:
            fetched = tulp("fetch", *args, server.url + "/x", **options)
            self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
            return server.messages[0]

    def refused(self, *args):
        with Asked() as server:
            fetched = tulp("fetch", *args, server.url)
            self.assertEqual((fetched.returncode, fetched.stderr.count(b"\n"), server.messages), (2, 1, []), fetched.stderr)
            return fetched.stderr.decode()

    def test_data_are_posted_as_a_form_does_and_as_curl_does(self):
        with temporary_folder() as folder:
            (folder / "lines").write_bytes(b"a=1\r\nb=2\n")
            for args in (["-d", "a=1"], ["-d", "a=1", "-d", "b=2 3"], ["-d", f"@{folder}/lines"], ["-d", ""],
                         ["--data-binary", f"@{folder}/lines"], ["-d", "x", "-X", "PUT"],
                         ["-d", "{}", "-H", "Content-Type: application/json"]):
                with self.subTest(args), Asked() as server:
                    curl(*args, server.url + "/x")
                    self.assertEqual(tulp("fetch", *args, server.url + "/x").stdout, b"page")
                    (line, fields, body), (our_line, our_fields, our_body) = server.messages
                    self.assertEqual((our_line, our_body), (line, body))
                    for name in "content-type", "content-length", "host", "accept":
                        self.assertEqual(our_fields[name], fields[name])

    def test_data_may_come_from_standard_input(self):
        with Asked() as server:
            subprocess.run([TULP, "fetch", "-d", "@-", server.url], input=b"from\nstdin", check=True, timeout=60)
            self.assertEqual(server.messages[0][2], b"fromstdin")

    def test_a_file_that_cannot_be_read_is_named_and_nothing_is_sent(self):
        with Asked() as server:
            for name, why in ("/no/such/file", "No such file or directory"), ("/", "Is a directory"):
                fetched = tulp("fetch", "-d", f"@{name}", server.url)
                self.assertEqual((fetched.returncode, fetched.stderr.decode()), (26, f"tulp fetch: {name}: {why}\n"))
            self.assertEqual(server.messages, [])

    def test_headers_take_the_place_of_ours_or_leave_them_out(self):
        _, fields, _ = self.ask("-H", "X-One: 1", "-H", "user-agent: me", "-H", "Accept:", "-H", "Host: other")
        self.assertEqual(fields, {"x-one": "1", "user-agent": "me", "host": "other"})
        _, fields, _ = self.ask()
        self.assertEqual(sorted(fields), ["accept", "host", "user-agent"])

    def test_headers_that_would_say_something_else_are_refused(self):
        for header, why in (("X: a\r\nY: b", "line end"), ("X: a\nY: b", "line end"), ("X: \x01", "control"),
                            ("X", "NAME: VALUE"), ("X y: z", "name"), (": z", "name"), ("", "NAME: VALUE"),
                            ("Content-Length: 5", "not for you"), ("transfer-encoding: chunked", "not for you")):
            with self.subTest(header):
                self.assertIn(why, self.refused("-H", header))

    def test_methods_are_sent_as_they_are_given(self):
        self.assertEqual(self.ask("-X", "DELETE")[0], "DELETE /x HTTP/1.1")
        self.assertEqual(self.ask("-X", "PURGE")[0], "PURGE /x HTTP/1.1")
        for method in "", "GET /y HTTP/1.1\r\nX: y\r\n\r\nGET", "A B", "CONNECT":
            self.refused("-X", method)

    def test_head_prints_the_header_alone(self):
        for answer in reply(b"12345")[:-5], reply(b"12345")[:-5] + b"a body that must not be there":
            with self.subTest(answer), Asked(answer) as server:
                fetched = tulp("fetch", "-I", server.url)
                self.assertEqual((fetched.returncode, fetched.stdout), (0, reply(b"12345")[:-5]))
                self.assertEqual(server.messages[0][0], "HEAD / HTTP/1.1")
        with Asked(reply(b"12345")) as server:   # as many ask servers that do not know HEAD
            self.assertEqual(tulp("fetch", "-I", "-X", "GET", server.url).stdout, reply(b"12345")[:-5])
        self.refused("-I", "-d", "x")

    def test_options_by_habit_are_taken(self):
        with Asked(reply(b"page")) as server:
            self.assertEqual(tulp("fetch", "-fsSL", server.url).stdout, b"page")

    def test_fail_makes_an_error_of_an_answer_of_400_or_more(self):
        for status, code, body in ("404 Not Found", 22, b""), ("500 Oops", 22, b""), ("304 Not Modified", 0, b""):
            with self.subTest(status), Asked(reply(b"sorry", status=status)) as server:
                fetched = tulp("fetch", "--fail", server.url)
                self.assertEqual((fetched.returncode, fetched.stdout), (code, body))
                if code:
                    line = fetched.stderr.decode()[:-1]
                    self.assertTrue(line.isprintable() and f"the server answered {status[:3]} " in line, line)
                if code:
                    self.assertEqual(tulp("fetch", server.url).stdout, b"sorry")


class Redirects(unittest.TestCase):
    def test_posts_become_gets_where_they_do_in_browsers(self):
        for status, method, becomes in ((301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"),
                                        (307, "POST", "POST"), (308, "POST", "POST"), (301, "PUT", "PUT"),
                                        (303, "PUT", "GET"), (303, "HEAD", "HEAD"), (302, "GET", "GET")):
            with self.subTest(status, method=method), Asked(redirect(status, "/y"), reply(b"")) as server:
                data = ["-d", "some=data"] if method in ("POST", "PUT") else []
                tulp("fetch", "-X", method, *data, server.url)
                line, fields, body = server.messages[1]
                self.assertEqual(line, f"{becomes} /y HTTP/1.1")
                has_body = bool(data) and becomes == method
                self.assertEqual((body, "content-type" in fields, "content-length" in fields),
                                 (b"some=data" if has_body else b"", has_body, has_body))

    def test_what_is_for_one_server_is_not_told_to_another(self):
        secrets = ["-H", "Authorization: Bearer x", "-H", "COOKIE: y=z", "-H", "Host: h", "-H", "X-Other: o"]
        with Asked() as there, Asked(redirect(302, there.url)) as here:
            self.assertEqual(tulp("fetch", *secrets, here.url).stdout, b"page")
            self.assertLess({"authorization", "cookie", "x-other"}, set(here.messages[0][1]))
            _, fields, _ = there.messages[0]
            self.assertEqual((fields.get("x-other"), fields["host"]), ("o", f"127.0.0.1:{there.port}"))
            self.assertFalse({"authorization", "cookie"} & set(fields))
        with Asked(redirect(302, "/y"), reply(b"")) as server:
            tulp("fetch", *secrets, server.url)
            self.assertLess({"authorization", "cookie"}, set(server.messages[1][1]))

    def test_and_does_not_come_back_when_the_other_one_redirects_back(self):
        with Asked(host="127.0.0.1") as here:
            with Asked(redirect(302, here.url + "/back")) as there:
                here.answers[:] = [redirect(302, there.url), reply(b"page")]
                self.assertEqual(tulp("fetch", "-H", "Cookie: y=z", here.url).stdout, b"page")
                self.assertNotIn("cookie", here.messages[1][1])


class Connections(unittest.TestCase):
    def test_a_redirect_on_the_same_server_takes_the_same_connection(self):
        with Asked(redirect(301, "/y"), redirect(301, "/z"), reply(b"page")) as server:
            self.assertEqual(tulp("fetch", server.url).stdout, b"page")
            self.assertEqual((len(server.messages), server.connection_count), (3, 1))

    def test_several_urls_of_one_server_share_its_connections(self):
        with Asked() as server:
            self.assertEqual(tulp("fetch", "--jobs", 2, *[server.url] * 20).stdout, b"page" * 20)
            self.assertEqual(len(server.messages), 20)
            self.assertLessEqual(server.connection_count, 2)

    def test_jobs_bounds_how_many_run_at_a_time(self):
        lock, running, most = threading.Lock(), [0], [0]

        def answer(connection, _):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            threading.Event().wait(0.02)
            with lock:
                running[0] -= 1
            connection.sendall(reply(b"x", "Connection: close"))
        with RawServer(answer) as server:
            self.assertEqual(tulp("fetch", "--jobs", 3, *[server.url] * 12).stdout, b"x" * 12)
        self.assertEqual(most[0], 3)

    def test_a_server_that_closes_between_two_requests_is_asked_again_but_not_to_do_something_twice(self):
        def answer_once(connection, request):   # and reads the next request before it closes
            connection.sendall(reply(b"page"))
            if b"last" not in request:
                connection.recv(65536)
        for args, code in ([], 0), (["-d", "x"], 0):
            with self.subTest(args), RawServer(answer_once) as server:
                fetched = tulp("fetch", "--jobs", 1, *args, *[server.url + "/last"] * 2, server.url)
                self.assertEqual((fetched.returncode, fetched.stdout), (code, b"page" * 3))
                fetched = tulp("fetch", "--jobs", 1, *args, *[server.url] * 3)
                self.assertEqual((fetched.returncode, fetched.stdout), (code, b"page" * 3))

    def test_what_a_server_says_unasked_is_no_reply(self):
        with Asked(reply(b"page") + reply(b"poison")) as server:
            self.assertEqual(tulp("fetch", "--jobs", 1, *[server.url] * 3).stdout, b"page" * 3)
            self.assertEqual(server.connection_count, 3)


if __name__ == "__main__":
    unittest.main()
