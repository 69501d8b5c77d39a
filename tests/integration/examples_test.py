"""Each example does what its first line says."""
import contextlib
import pathlib
import socket
import subprocess
import sys
import unittest

from programs import SKIPPED, TULP, RawServer

FOLDER = pathlib.Path(TULP).parents[2] / "examples"


def output_of(name, *args):
    return subprocess.run([FOLDER / name, *map(str, args)], capture_output=True, timeout=60, check=True).stdout.decode()


@contextlib.contextmanager
def running(name):
    """A server; gives the port that it prints."""
    with subprocess.Popen([FOLDER / name], stdout=subprocess.PIPE) as process:
        try:
            yield int(process.stdout.readline().decode().rpartition(":")[2])
        finally:
            process.terminate()


class Examples(unittest.TestCase):
    def test_hello(self):
        self.assertEqual(output_of("hello_callback"), "hello\nworld\n")
        self.assertEqual(output_of("hello_task"),
                         "hello hare\nhello tortoise\ntortoise and hare have been greeted\n")

    def test_fetch(self):
        with RawServer(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nbody\n\nof two parts") as server:
            self.assertEqual(output_of("fetch", "127.0.0.1", server.port), "body\n\nof two parts\n")

    def test_echo(self):
        for name in "echo_stream", "echo_protocol":
            with self.subTest(name), running(name) as port:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    for data in b"hello", b"x" * 100_000:
                        connection.sendall(data)
                        received = b""
                        while len(received) < len(data):
                            received += connection.recv(65536)
                        self.assertEqual(received, data)
                    connection.shutdown(socket.SHUT_WR)
                    self.assertEqual(connection.recv(1), b"")


if __name__ == "__main__":
    if not (FOLDER / "hello_task").exists():
        sys.exit(SKIPPED)   # built with -Dexamples=false
    unittest.main()
