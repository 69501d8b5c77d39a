"""Each example does what its first line says."""
import asyncio
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

    def test_virtual_time(self):
        self.assertEqual(output_of("virtual_time"), "20 times 17 minutes have passed\n")

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

    def test_udp_echo(self):
        with running("udp_echo") as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(60)
                client.connect(("127.0.0.1", port))
                for data in b"hello", b"", b"x" * 60_000:
                    client.send(data)
                    self.assertEqual(client.recv(65536), data)
            self.assertEqual(output_of("udp_echo", "127.0.0.1", port), f"127.0.0.1:{port} says: This is the message.\n")

    def test_udp_echo_asks_asyncio(self):
        class Server(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, addr):
                self.transport.sendto(data.upper(), addr)

        async def serve():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
            port = transport.get_extra_info("sockname")[1]
            output = await loop.run_in_executor(None, output_of, "udp_echo", "localhost", port)
            self.assertEqual(output, f"127.0.0.1:{port} says: THIS IS THE MESSAGE.\n")
            transport.close()

        asyncio.run(serve())

    def test_udp_echo_without_an_answer(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            port = str(silent.getsockname()[1])
            asking = [FOLDER / "udp_echo", "127.0.0.1", port]
            result = subprocess.run(asking, capture_output=True, timeout=60, check=False)
            self.assertEqual((result.returncode, result.stderr.decode().splitlines()),
                             (1, [f"recvfrom 127.0.0.1:{port} timed out"] * 3 + ["error: no answer"]))
        result = subprocess.run(asking, capture_output=True, timeout=60, check=False)
        self.assertEqual((result.returncode, result.stderr.decode().splitlines()),
                         (1, [f"recvfrom 127.0.0.1:{port}: Connection refused"] * 3 + ["error: no answer"]))


if __name__ == "__main__":
    if not (FOLDER / "hello_task").exists():
        sys.exit(SKIPPED)   # built with -Dexamples=false
    unittest.main()
