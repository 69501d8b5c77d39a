"""tulp bench measures echo and HTTP servers, and finds whatever is wrong with them, in bounded time."""
import contextlib
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from programs import PATH, TULP, RawServer, descriptor_count, free_port, listening, nginx, on_terminal, reply, reset, \
    serving, temporary_folder, tulp

MAKE_CERTIFICATES = pathlib.Path(TULP).parents[2] / "tests" / "programs" / "make_certificates"


def bench(*args, timeout=60):
    """Its report, its exit code, and what it says beside."""
    result = tulp("bench", "--json", *args, timeout=timeout)
    return (json.loads(result.stdout) if result.stdout else None), result.returncode, result.stderr.decode()


def check_good(test, report, code, errors, count):
    test.assertEqual((code, errors, report["error_count"]), (0, "", 0), report)
    test.assertEqual(report["answers"], count)
    latency = report["latency_seconds"]
    order = [latency[key] for key in ("min", "p50", "p90", "p99", "p99.9", "max")]
    test.assertEqual(order, sorted(order))
    test.assertEqual(sum(row["count"] for row in latency["histogram"]), count)


@contextlib.contextmanager
def raw_echo(answer):
    """Calls `answer(connection)` in a thread for each connection to a port, which it gives."""
    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def udp_server(answer):
    """Sends back what `answer(data)` lists; gives the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    data, address = server.recvfrom(65536)
                    if data == b"end":
                        return
                    for datagram in answer(data):
                        server.sendto(datagram, address)
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.sendto(b"end", server.getsockname())
        thread.join()


class GoodServers(unittest.TestCase):
    def test_echo_of_any_size_and_depth_comes_back(self):
        with listening("echo", "--port", 0) as port:
            for args in ["-s", 1], ["-s", 64, "-p", 100], ["-s", 3_000_000, "-c", 2, "-n", 10, "-p", 2], ["-t", 2], ["-c", 1]:
                with self.subTest(args):
                    count = 10 if "-n" in args else 1000
                    check_good(self, *bench(f"127.0.0.1:{port}", *(["-n", 1000] if count == 1000 else []), *args), count)

    def test_echo_over_unix_sockets_udp_and_tls(self):
        with temporary_folder() as folder, serving("echo", "--unix", folder / "echo"):
            check_good(self, *bench("--unix", folder / "echo", "-n", 1000, "-p", 3), 1000)
        with serving("echo", "--unix", f"@tulp-bench-{free_port()}") as where:
            check_good(self, *bench("--unix", where.removeprefix("unix:"), "-n", 1000), 1000)
        with listening("echo", "--udp", "--port", 0) as port:
            report, *rest = bench("--udp", f"localhost:{port}", "-4", "-n", 1000, "-p", 3)
            check_good(self, report, *rest, 1000)
            self.assertEqual((report["lost"], report["late_or_twice"]), (0, 0))
        with temporary_folder() as folder:
            subprocess.run([MAKE_CERTIFICATES, folder], check=True, timeout=60)
            tls = ["--tls-cert", folder / "good.pem", "--tls-key", folder / "good.key"]
            with listening("echo", "--port", 0, *tls) as port:
                trusting = ["--tls", "--cacert", folder / "ca.pem", f"localhost:{port}", "-n", 1000]
                check_good(self, *bench(*trusting, "-s", 20_000, "-t", 2), 1000)
                self.assertEqual(bench("--tls", f"localhost:{port}", "-n", 10)[1], 60)
                check_good(self, *bench("--tls", "-k", f"localhost:{port}", "-n", 10), 10)

    def test_nginx_which_ends_connections_now_and_then(self):
        with temporary_folder() as folder:
            folder.chmod(0o755)
            (folder / "page.txt").write_bytes(b"x" * 3000)
            (folder / "large").write_bytes(b"x" * 3_000_000)
            with nginx(folder) as port:
                url = f"http://localhost:{port}"
                report, *rest = bench(f"{url}/page.txt", "-n", 2500, "-c", 2)
                check_good(self, report, *rest, 2500)
                self.assertEqual(report["connections_reopened"], 2)   # nginx ends each after a thousand requests
                for args in [f"{url}/page.txt", "-p", 7, "-t", 2], [f"{url}/chunked/page.txt"], [f"{url}/empty"], \
                        [f"{url}/page.txt", "-X", "HEAD"], [f"{url}/moved"], [f"{url}/large", "-c", 2], \
                        [f"{url}/page.txt", "-H", "Connection: close"], [f"{url}/no", "--status", 404]:
                    with self.subTest(args):
                        check_good(self, *bench(*args, "-n", 100), 100)
                report, code, _ = bench(f"{url}/no", "-n", 100)
                self.assertEqual((code, report["errors"], report["answers"]), (1, {"status 404 Not Found": 100}, 0))

    def test_what_is_sent_over_http(self):
        requests = []

        def answer(connection, request):
            head, _, body = request.partition(b"\r\n\r\n")
            requests.append((head.decode().split("\r\n"), body))
            connection.sendall(reply(b"ok", "Connection: close"))
        with RawServer(answer) as server:
            bench(f"{server.url}/a?b", "-n", 1, "-c", 1, "-X", "PUT", "-d", "name=x", "-H", "X-One: 1", "-H", "Host: other")
        head, body = next(request for request in requests if request[0] != [""])
        self.assertEqual((head[0], body), ("PUT /a?b HTTP/1.1", b"name=x"))
        self.assertIn("Content-Length: 6", head)
        self.assertIn("X-One: 1", head)
        self.assertEqual([field for field in head if field.lower().startswith("host")], ["Host: other"])

    def test_socat(self):
        socat = shutil.which("socat", path=PATH) or self.skipTest("socat is not installed")
        port = free_port()
        with subprocess.Popen([socat, f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1", "PIPE"]) as process:
            try:
                while bench(f"127.0.0.1:{port}", "-n", 1)[1] == 7:
                    time.sleep(0.05)
                check_good(self, *bench(f"127.0.0.1:{port}", "-n", 200, "-c", 3), 200)
            finally:
                process.terminate()


class Rates(unittest.TestCase):
    def test_latency_counts_from_when_a_request_was_due(self):
        def answer(connection):
            for count in range(10**9):
                if not (data := connection.recv(64, socket.MSG_WAITALL)):
                    return
                if count == 50:
                    time.sleep(0.3)   # forty requests become due meanwhile
                connection.sendall(data)
        with raw_echo(answer) as port:
            fixed = bench(f"127.0.0.1:{port}", "-c", 1, "-n", 200, "--rate", 200)[0]["latency_seconds"]
            eager = bench(f"127.0.0.1:{port}", "-c", 1, "-n", 200)[0]["latency_seconds"]
        self.assertGreater(fixed["p90"], 0.1)
        self.assertLess(eager["p90"], 0.1)
        self.assertGreater(min(fixed["max"], eager["max"]), 0.29)

    def test_a_rate_is_kept_and_one_that_is_too_high_is_said(self):
        with listening("echo", "--port", 0) as port:
            report, code, _ = bench(f"127.0.0.1:{port}", "--rate", 1000, "--duration", 1, "-t", 2, "--warmup", 0)
            self.assertEqual(code, 0)
            self.assertGreater(report["answers"], 500)   # and if the machine is too slow for the others, they are owed
            self.assertAlmostEqual(report["answers"] + report["not_sent_in_time"], 1000, delta=50)
        with raw_echo(lambda connection: [connection.sendall(connection.recv(64)) for _ in iter(lambda: time.sleep(0.1), 1)]) \
                as port:
            report, code, _ = bench(f"127.0.0.1:{port}", "--rate", 100, "--duration", 1, "-c", 1)
            self.assertGreater(report["not_sent_in_time"], 50)


class BadServers(unittest.TestCase):
    def check_bad(self, kind, *args, code=1):
        begin = time.monotonic()
        report, actual, errors = bench(*args)
        self.assertEqual((actual, errors), (code, ""))
        self.assertTrue(any(re.search(kind, key) for key in report["errors"]), report["errors"])
        self.assertLess(time.monotonic() - begin, 30)
        return report

    def test_an_echo_that_changes_bytes_adds_some_or_ends(self):
        def change(connection):
            while data := connection.recv(4096):
                connection.sendall(data[:-1] + bytes([data[-1] ^ 1]))

        def double(connection):
            while data := connection.recv(4096):
                connection.sendall(data * 2)

        def end(connection):
            connection.sendall(connection.recv(64)[:10])

        def break_off(connection):
            connection.recv(64)
            reset(connection)
        for answer, kind in (change, "other bytes came back"), (double, "more came back than was sent"), \
                (end, "closed by the server"), (break_off, "Connection reset by peer"):
            with self.subTest(kind), raw_echo(answer) as port:
                self.check_bad(kind, f"127.0.0.1:{port}", "-n", 20)

    def test_a_server_that_is_silent(self):
        with raw_echo(lambda connection: time.sleep(5)) as port:
            for target in f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/":
                self.check_bad("no answer in time", target, "--duration", 0.3, "--timeout", 0.3, "--warmup", 0)

    def test_bad_http(self):
        def vary(connection, _, sizes=iter(range(10**6))):
            connection.sendall(reply(b"x" * next(sizes), "Connection: close"))

        def drip(connection, _):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                connection.sendall(b"x")
                time.sleep(0.1)
        for answer, kind in (b"220 mail\r\n", "no HTTP"), (reply(b"x", status="500 No"), "status 500"), (vary, "another size"), \
                (drip, "no answer in time"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "within a reply"), \
                (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, "header"), (reply(b"x") * 2, "more replies"), \
                (b"HTTP/1.1 200", "within a reply"), (lambda connection, _: reset(connection), "reset"), \
                (lambda connection, _: None, "closed by the server"):
            with self.subTest(kind), RawServer(answer) as server:
                self.check_bad(kind, server.url, "-n", 4, "-c", 2, "--timeout", 0.5)
        with RawServer(vary) as server:
            self.assertEqual(bench(server.url, "-n", 10, "--any-size")[1], 0)

    def test_nobody_listens(self):
        port = free_port()
        for args in [f"127.0.0.1:{port}"], ["--udp", f"127.0.0.1:{port}"], [f"http://127.0.0.1:{port}/"], \
                ["--unix", "/no/such/socket"]:
            with self.subTest(args):
                result = tulp("bench", *args)
                self.assertEqual((result.returncode, result.stderr.count(b"\n")), (7, 1), result.stderr)
        self.assertEqual(tulp("bench", "no-such-host.invalid:1").returncode, 6)

    def test_a_server_that_goes_for_a_while_is_found_again(self):
        with subprocess.Popen([TULP, "echo", "--port", "0"], stdout=subprocess.PIPE) as server:
            port = int(server.stdout.readline().rpartition(b":")[2])
            command = [TULP, "bench", "--json", "--duration", "2", f"127.0.0.1:{port}"]
            alone = descriptor_count(server)
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                while descriptor_count(server) < alone + 10:   # all of bench's connections
                    time.sleep(0.01)
                server.kill()
                server.wait()
                with listening("echo", "--port", port):
                    report = json.loads(process.stdout.read())
                self.assertEqual(process.wait(timeout=60), 1)
        self.assertGreater(report["error_count"], 0)
        self.assertGreater(report["answers"], 100)

    def test_datagrams_that_are_lost_doubled_or_changed(self):
        turns = iter(range(10**9))
        for answer, expected in (lambda data: [data] if next(turns) % 10 else [], ("lost", 0)), \
                (lambda data: [data, data], ("late_or_twice", 0)), \
                (lambda data: [data[:-1] + bytes([data[-1] ^ 1])], ("error_count", 1)), \
                (lambda data: [data[:-1]], ("error_count", 1)):
            with self.subTest(expected), udp_server(answer) as port:
                report, code, _ = bench("--udp", f"127.0.0.1:{port}", "-n", 50, "--timeout", 0.3, "-p", 5)
                self.assertEqual(code, expected[1], report)
                self.assertGreater(report[expected[0]], 0)


class Terminal(unittest.TestCase):
    def test_the_report_fits_the_terminal(self):
        with listening("echo", "--port", 0) as port:
            for environment in {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8", "NO_COLOR": "1"}, {"TERM": "dumb", "LC_ALL": "C.UTF-8"}:
                with self.subTest(environment):
                    text, code = on_terminal("bench", "-n", "1000", f"127.0.0.1:{port}", **environment)
                    self.assertEqual(code, 0, text)
                    self.assertEqual("\x1b[1m" in text, environment == {"LC_ALL": "C"})
                    self.assertEqual("█" in text, environment["LC_ALL"] == "C.UTF-8")
                    lines = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", text).replace("\r\n", "\n").split("\n")
                    self.assertLessEqual(max(len(line.rpartition("\r")[2]) for line in lines), 80)

    def test_ctrl_c_ends_it_early_and_prints_what_there_is(self):
        answers = 0

        def answer(connection):
            nonlocal answers
            while data := connection.recv(4096):
                connection.sendall(data)
                answers += 1
        with raw_echo(answer) as port:
            for number, code in (signal.SIGINT, 130), (signal.SIGTERM, 143):
                answers = 0
                command = [TULP, "bench", "--json", "--duration", "60", "--warmup", "0", f"127.0.0.1:{port}"]
                with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                    while answers < 100:   # more than there are connections, so that bench has got some of them
                        time.sleep(0.01)
                    process.send_signal(number)
                    report = json.loads(process.stdout.read())
                    self.assertEqual((process.wait(timeout=60), process.stderr.read()), (code, b""))
                self.assertGreater(report["answers"], 0)
                self.assertEqual(report["error_count"], 0)

    def test_bad_arguments(self):
        for args in [], ["localhost"], ["localhost:x"], ["ftp://localhost/"], ["http://localhost/", "--size", "5"], \
                ["localhost:1", "-X", "PUT"], ["localhost:1", "--udp", "-s", "7"], ["localhost:1", "--timeout", "0"], \
                ["http://localhost/", "-H", "x"], ["localhost:1", "-n", "1", "--duration", "1"], ["localhost:1", "-c", "0"]:
            with self.subTest(args):
                result = tulp("bench", *args)
                code = 1 if args == ["ftp://localhost/"] else 2   # as tulp fetch
                self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (code, b"", 1), result.stderr)


if __name__ == "__main__":
    unittest.main()
