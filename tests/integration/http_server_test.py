"""The embedded server of the demo: what it answers to curl, and to requests that curl would never send."""
import socket
import subprocess
import unittest

from programs import curl, listening, tulp

HOST = b"Host: x\r\n"
GET = b"GET /small/0 HTTP/1.1\r\n" + HOST

BAD_REQUESTS = [   # what is wrong, the request, the status
    ("no request", b"hello\r\n\r\n", 400), ("zeros", bytes(1000), 400), ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("a bare line feed", b"GET / HTTP/1.1\nHost: x\n\n", 400), ("HTTP/2", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    ("a space before the colon", GET + b"X : y\r\n\r\n", 400), ("a folded field", GET + b"X: a\r\n b\r\n\r\n", 400),
    ("a NUL", GET + b"X: a\0\r\n\r\n", 400),
    ("two lengths", GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ("a length and chunks", GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("an encoding without an end", GET + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    ("a proxy's request", b"GET http://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("another method", b"POST /small/0 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", 405),
    ("a large header", GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    ("many fields", GET + b"X: a\r\n" * 20_000 + b"\r\n", 431),
    ("an unknown page", b"GET /none HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
    ("a page beyond the last", b"GET /small/999 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
    ("dots", b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
    ("an early end", b"GET /small/0 HTTP/1.1\r\nHos", 400),
]


class Server(unittest.TestCase):
    def setUp(self):
        self.port = self.enterContext(listening("demo", "--serve", "--pages", 20))
        self.url = f"http://127.0.0.1:{self.port}"

    def enterContext(self, manager):   # Python 3.11 has it
        result = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return result

    def ask(self, request):
        """All that comes back to `request`, after which this side is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                return stream.read()

    def test_bad_requests_are_answered_and_the_server_lives_on(self):
        for what, request, status in BAD_REQUESTS:
            with self.subTest(what):
                answer = self.ask(request)
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer[:80])
                self.assertIn(b"\r\nConnection: close\r\n", answer)
        self.assertIn(b"Allow: GET, HEAD\r\n", self.ask(b"PUT / HTTP/1.1\r\n" + HOST + b"\r\n"))
        self.assertEqual(len(curl(self.url + "/small/0")), 2000)

    def test_a_connection_takes_many_requests(self):
        answer = curl("-v", "-o", "/dev/null", "-w", "%{num_connects} ", *[f"{self.url}/small/{i}" for i in range(8)])
        self.assertEqual(answer.split()[-1], b"0")

    def test_pipelined_requests_are_answered_in_order(self):
        request = b"".join(b"GET /small/%d HTTP/1.1\r\nHost: x\r\n\r\n" % index for index in (3, 1, 2))
        answer = self.ask(request)
        positions = [answer.find(b"This is page %d." % index) for index in (3, 1, 2)]
        self.assertEqual((positions, answer.count(b"HTTP/1.1 200 OK")), (sorted(positions), 3))

    def test_the_body_of_a_request_is_no_request(self):
        body = b"GET /small/2 HTTP/1.1\r\n\r\n"
        answer = self.ask(GET + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET + b"\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2)
        self.assertNotIn(b"This is page 2.", answer)

    def test_head_is_get_without_the_body(self):
        for path in "/small/0", "/chunked/0", "/none":
            with self.subTest(path):
                get, head = curl("-i", self.url + path), curl("-I", self.url + path)
                without_date = lambda text: [line for line in text.split(b"\r\n") if not line.startswith(b"Date")]
                self.assertEqual(without_date(head), without_date(get[:len(head)]))
                self.assertTrue(head.endswith(b"\r\n\r\n"))

    def test_a_client_of_http_1_0_gets_no_chunks(self):
        chunked = next(i for i in range(19) if b"chunked" in curl("-I", f"{self.url}/small/{i}"))
        new, old = curl(f"{self.url}/chunked/{chunked}"), curl("--http1.0", "-i", f"{self.url}/chunked/{chunked}")
        self.assertNotIn(b"chunked\r\n", old)
        self.assertEqual(old.partition(b"\r\n\r\n")[2], new)

    def test_what_breaks_off_is_seen_to_break_off(self):
        broken = subprocess.run(["curl", "-sS", f"{self.url}/broken/19"], capture_output=True, check=False)
        self.assertEqual((broken.returncode, len(broken.stdout)), (18, 1000))
        self.assertEqual(tulp("fetch", f"{self.url}/broken/19").returncode, 18)

    def test_clients_that_go_away_do_no_harm(self):
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(b"GET /large/0 HTTP/1.1\r\n" + HOST + b"\r\n" * 2)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.assertEqual(len(curl(self.url + "/small/0")), 2000)


if __name__ == "__main__":
    unittest.main()
