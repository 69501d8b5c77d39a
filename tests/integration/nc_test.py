"""tulp nc joins standard input and output to a peer, whatever these are and whoever ends first; netcat-openbsd is on the
other end, or asked for the same."""
import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from programs import TULP, reset, temporary_folder, tulp

PIPE = subprocess.PIPE
LIMIT_SECONDS = 60


class Peer:
    """Calls `talk(connection)` for the first client, in a thread; `result` is what it returns."""

    def __init__(self, talk):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = str(self.listener.getsockname()[1])
        self.talk = talk
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT_SECONDS)
        with connection:
            self.result = self.talk(connection)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


def read_all(connection):
    with connection.makefile("rb") as stream:
        return stream.read()


def say_goodbye(connection):
    connection.sendall(b"bye\n")


def nc(*args, program=TULP, **options):
    command = [program, "nc"] if program == TULP else [program]
    options = {"stdin": subprocess.DEVNULL, "stdout": PIPE, "stderr": PIPE, **options}
    return subprocess.Popen([*command, *map(str, args)], **options)


def end_of(process):
    """Its output and exit code."""
    with process:
        output, errors = process.communicate(timeout=LIMIT_SECONDS)
    return output, errors.decode(), process.returncode


@contextlib.contextmanager
def listening_nc(*args, **options):
    """tulp nc -l on a free port; gives the process and the port."""
    with nc("-v", "-l", *args, "127.0.0.1", "0", **options) as process:
        try:
            line = process.stderr.readline().decode()
            yield process, int(re.search(r"listening on 127\.0\.0\.1:(\d+)$", line.strip())[1])
        finally:
            process.kill()


class Ends(unittest.TestCase):
    def test_what_stands_on_standard_input_goes_to_the_peer_and_its_answer_to_standard_output(self):
        data = os.urandom(3_000_000)

        def answer(connection):
            connection.sendall(b"<" + read_all(connection) + b">")
        with temporary_folder() as folder, Peer(answer) as peer:
            (folder / "in").write_bytes(data)
            with open(folder / "in", "rb") as source, open(folder / "out", "wb") as sink:
                self.assertEqual(end_of(nc("-N", "127.0.0.1", peer.port, stdin=source, stdout=sink)), (None, "", 0))
            self.assertTrue((folder / "out").read_bytes() == b"<" + data + b">")

    def test_input_that_ends_first_leaves_the_answer_to_be_printed(self):
        def answer_late(connection):
            time.sleep(0.2)
            connection.sendall(b"late")
        for redirection in "</dev/null", "<&-":
            with self.subTest(redirection), Peer(answer_late) as peer:
                shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", TULP, "nc", "127.0.0.1", peer.port]
                result = subprocess.run(shell, capture_output=True, timeout=LIMIT_SECONDS, check=False)
                self.assertEqual((result.stdout, result.stderr, result.returncode), (b"late", b"", 0))

    def test_a_peer_that_ends_first_ends_it_although_a_terminal_could_go_on(self):
        with Peer(say_goodbye) as peer:
            controller, terminal = pty.openpty()
            process = nc("127.0.0.1", peer.port, stdin=terminal)
            self.assertEqual(end_of(process), (b"bye\n", "", 0))
            os.close(controller)
            os.close(terminal)

    def test_a_peer_that_half_closes_still_gets_what_a_pipe_brings(self):
        def half_close(connection):
            connection.sendall(b"half")
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)
        with Peer(half_close) as peer:
            process = nc("127.0.0.1", peer.port, stdin=PIPE)
            self.assertEqual(process.stdout.read(4), b"half")
            self.assertEqual(end_of_input(process, b"afterwards"), (b"", "", 0))
        self.assertEqual(peer.result, b"afterwards")

    def test_a_listener_ends_with_its_client_and_sends_all_of_a_file(self):
        data = os.urandom(2_000_000)
        with temporary_folder() as folder:
            (folder / "in").write_bytes(data)
            with open(folder / "in", "rb") as source, listening_nc(stdin=source) as (process, port):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.shutdown(socket.SHUT_WR)
                    self.assertTrue(read_all(client) == data)
                self.assertEqual(process.wait(LIMIT_SECONDS), 0)
        with listening_nc(stdin=PIPE) as (process, port):   # a pipe that is open
            socket.create_connection(("127.0.0.1", port)).close()
            self.assertEqual(process.wait(LIMIT_SECONDS), 0)

    def test_a_peer_that_resets_is_an_error_after_what_came_before(self):
        has_come = threading.Event()

        def send_and_reset(connection):
            connection.sendall(b"before")
            has_come.wait(LIMIT_SECONDS)   # or the reset would overtake it
            reset(connection)
        with Peer(send_and_reset) as peer:
            process = nc("127.0.0.1", peer.port, stdin=PIPE)
            self.assertEqual(process.stdout.read(6), b"before")
            has_come.set()
            output, errors, code = end_of(process)
        self.assertEqual((output, code), (b"", 56))
        self.assertRegex(errors, r"^tulp nc: .*127\.0\.0\.1:\d+: Connection reset by peer\n$")

    def test_output_that_nobody_reads_ends_it_quietly_and_a_full_disk_with_an_error(self):
        def flood(connection):
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(bytes(100_000))
        with Peer(flood) as peer:
            reader, writer = os.pipe()
            os.close(reader)
            self.assertEqual(end_of(nc("127.0.0.1", peer.port, stdin=PIPE, stdout=writer)), (None, "", 23))
            os.close(writer)
        with Peer(say_goodbye) as peer, open("/dev/full", "wb") as full:
            self.assertEqual(end_of(nc("127.0.0.1", peer.port, stdout=full)),
                             (None, "tulp nc: stdout: No space left on device\n", 23))

    def test_ctrl_c_and_sigterm_end_it(self):
        for number, code in (signal.SIGINT, 130), (signal.SIGTERM, 143):
            with self.subTest(number), Peer(read_all) as peer:
                process = nc("-v", "127.0.0.1", peer.port, stdin=PIPE)
                self.assertIn(b"connected to 127.0.0.1:", process.stderr.readline())
                process.send_signal(number)
                self.assertEqual(process.wait(LIMIT_SECONDS), code)
                end_of(process)

    def test_silence_ends_after_the_time_that_is_given(self):
        with Peer(read_all) as peer:
            self.assertEqual(end_of(nc("-w", "0.3", "127.0.0.1", peer.port, stdin=PIPE)), (b"", "", 0))


def end_of_input(process, data):
    """As end_of(), with what is given to its standard input."""
    with process:
        output, errors = process.communicate(data, timeout=LIMIT_SECONDS)
    return output, errors.decode(), process.returncode


class Listening(unittest.TestCase):
    def test_netcat_talks_to_it(self):
        netcat = shutil.which("nc") or self.skipTest("nc is not installed")
        data = os.urandom(1_000_000)
        with temporary_folder() as folder:
            for args in ["-N"], ["-N", "-U"]:
                for listens in True, False:
                    with self.subTest(args=args, listens=listens):
                        self.talk_to_netcat(netcat, args, listens, folder / f"{len(args)}{listens}", data)

    def talk_to_netcat(self, netcat, args, listens, path, data):
        where = [path] if "-U" in args else ["127.0.0.1", "0"]
        programs = (TULP, netcat) if listens else (netcat, TULP)
        with open(f"{path}.out", "w+b") as output, nc("-v", *args[:1], "-l", *args[1:], *where, program=programs[0],
                                                      stdin=PIPE, stdout=output) as server:
            line = server.stderr.readline().decode().strip()
            if "-U" not in args:
                where[1] = re.search(r"istening on .*?(\d+)$", line)[1]
            self.assertEqual(end_of_input(nc(*args, *where, program=programs[1], stdin=PIPE), data)[1:], ("", 0))
            self.assertEqual(server.wait(LIMIT_SECONDS), 0)
            output.seek(0)
            self.assertTrue(output.read() == data)
        if "-U" in args and listens:
            self.assertFalse(path.exists())

    def test_with_k_the_next_client_is_served_when_one_has_ended(self):
        with listening_nc("-k", stdin=subprocess.DEVNULL) as (process, port):
            for number in range(3):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"%d" % number)
                self.assertEqual(process.stdout.read(1), b"%d" % number)
            with socket.create_connection(("127.0.0.1", port)) as rude:
                rude.sendall(b"r")
                self.assertEqual(process.stdout.read(1), b"r")
                reset(rude)
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"l")
                self.assertEqual(process.stdout.read(1), b"l")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(LIMIT_SECONDS), 130)

    def test_with_k_a_hundred_may_wait_and_the_next_is_refused(self):
        with listening_nc("-k", stdin=PIPE) as (process, port), contextlib.ExitStack() as stack:
            def connect():
                connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)
                return stack.enter_context(connection)
            first = connect()
            first.sendall(b"1")
            self.assertEqual(process.stdout.read(1), b"1")
            waiting = [connect() for _ in range(100)]
            waiting[0].sendall(b"2")
            with self.assertRaises(ConnectionResetError):
                connect().recv(1)
            self.assertEqual(process.stderr.readline(), b"tulp nc: connection from 127.0.0.1:%d\n" % first.getsockname()[1])
            self.assertEqual(process.stderr.readline(), b"tulp nc: refused a connection: 100 are waiting\n")
            first.close()
            self.assertEqual(process.stdout.read(1), b"2")

    def test_without_k_the_second_client_is_refused(self):
        with listening_nc(stdin=PIPE) as (process, port):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"x")
                self.assertEqual(process.stdout.read(1), b"x")
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port))
            self.assertEqual(process.wait(LIMIT_SECONDS), 0)


class Datagrams(unittest.TestCase):
    def test_the_first_one_who_speaks_is_answered_and_nobody_else_heard(self):
        with listening_nc("-u", stdin=PIPE) as (process, port), \
                socket.socket(type=socket.SOCK_DGRAM) as first, socket.socket(type=socket.SOCK_DGRAM) as other:
            first.settimeout(LIMIT_SECONDS)
            first.sendto(b"one", ("127.0.0.1", port))
            self.assertEqual(process.stdout.read(3), b"one")
            other.sendto(b"other", ("127.0.0.1", port))
            first.sendto(b"two", ("127.0.0.1", port))
            self.assertEqual(process.stdout.read(3), b"two")
            process.stdin.write(b"answer")
            process.stdin.flush()
            self.assertEqual(first.recv(100), b"answer")

    def test_with_k_everybody_is_heard(self):
        with listening_nc("-u", "-k", stdin=PIPE) as (process, port), \
                socket.socket(type=socket.SOCK_DGRAM) as first, socket.socket(type=socket.SOCK_DGRAM) as other:
            first.sendto(b"one", ("127.0.0.1", port))
            self.assertEqual(process.stdout.read(3), b"one")
            other.sendto(b"two", ("127.0.0.1", port))
            self.assertEqual(process.stdout.read(3), b"two")

    def test_netcat_answers(self):
        netcat = shutil.which("nc") or self.skipTest("nc is not installed")
        with listening_nc("-u", stdin=PIPE) as (process, port), \
                nc("-u", "127.0.0.1", port, program=netcat, stdin=PIPE) as client:
            client.stdin.write(b"question\n")
            client.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"question\n")
            process.stdin.write(b"answer\n")
            process.stdin.flush()
            self.assertEqual(client.stdout.readline(), b"answer\n")
            client.kill()

    def test_an_empty_one_is_no_end_and_a_file_goes_in_pieces_that_fit(self):
        data = os.urandom(100_000)
        with listening_nc("-u", "-w", "1", stdin=PIPE) as (process, port):
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", port))
                for piece in b"", b"x", b"":
                    client.send(piece)
                self.assertEqual(process.stdout.read(1), b"x")
        with listening_nc("-u", "-w", "1", stdin=PIPE) as (process, port), temporary_folder() as folder:
            (folder / "in").write_bytes(data)
            with open(folder / "in", "rb") as source:
                self.assertEqual(end_of(nc("-u", "-w", "0.2", "127.0.0.1", port, stdin=source)), (b"", "", 0))
            self.assertTrue(process.stdout.read() == data)
            self.assertEqual(process.wait(LIMIT_SECONDS), 0)

    def test_where_nobody_may_or_can_send_is_an_error(self):
        for host, words in ("255.255.255.255", "Permission denied"), ("::1", "Connection refused"):
            output, errors, code = end_of_input(nc("-u", "-w", "30", host, "9", stdin=PIPE), b"x")
            self.assertEqual((output, code), (b"", 7))
            self.assertRegex(errors, f"^tulp nc: .*{words}\n$")

    def test_a_refusal_is_an_error(self):
        output, errors, code = end_of_input(nc("-u", "-w", "30", "127.0.0.1", "1", stdin=PIPE), b"x")
        self.assertEqual((output, code), (b"", 7))
        self.assertRegex(errors, "^tulp nc: .*Connection refused\n$")


class Looking(unittest.TestCase):
    def test_z_says_whether_somebody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            result = tulp("nc", "-z", "127.0.0.1", port)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))
            result = tulp("nc", "-zv", "127.0.0.1", f"{port}-{port}")
            self.assertEqual((result.returncode, result.stderr.decode()), (0, f"tulp nc: 127.0.0.1:{port} is open\n"))
        result = tulp("nc", "-z", "127.0.0.1", "1")
        self.assertEqual((result.returncode, result.stderr), (7, b""))
        result = tulp("nc", "-zv", "127.0.0.1", "1-2")
        self.assertEqual((result.returncode, result.stderr.count(b"Connection refused")), (7, 2))
        self.assertEqual(tulp("nc", "-zu", "127.0.0.1", "1").returncode, 7)

    def test_errors(self):
        for args, code, words in [
            (["127.0.0.1", "1"], 7, "127.0.0.1:1: Connection refused"),
            (["no-such-host.invalid", "1"], 6, "no-such-host.invalid"),
            (["-U", "/no/such/socket"], 7, "/no/such/socket"),
            (["-l", "192.0.2.1", "0"], 1, "192.0.2.1"),
            ([], 2, "HOST and PORT"), (["-l"], 2, "PORT"), (["127.0.0.1", "65536"], 2, "65536"),
            (["127.0.0.1", "http-or-so"], 2, "http-or-so"), (["127.0.0.1", "0"], 2, "0"), (["127.0.0.1", "20-25"], 2, "20-25"),
            (["-z", "127.0.0.1", "25-20"], 2, "25-20"), (["-k", "127.0.0.1", "1"], 2, "-k"),
            (["-u", "--tls", "127.0.0.1", "1"], 2, "--tls"), (["--cacert", "x", "127.0.0.1", "1"], 2, "--tls"),
            (["--tls", "--cacert", "/no/such/file", "127.0.0.1", "1"], 77, "/no/such/file"),
            (["-l", "--tls-cert", "/no/such/file", "1"], 58, "/no/such/file"),
            (["-4", "-6", "127.0.0.1", "1"], 2, "-4"),
        ]:
            with self.subTest(args):
                result = tulp("nc", *args)
                self.assertEqual((result.returncode, result.stderr.count(b"\n")), (code, 1), result.stderr)
                self.assertIn(words, result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
