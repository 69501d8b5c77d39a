"""tulp echo --udp, with plain sockets, asyncio, socat and nc on the other end."""
import asyncio
import os
import shutil
import socket
import subprocess
import unittest

from programs import listening, tulp


class Asker(asyncio.DatagramProtocol):
    """Sends the messages, each when the former one has come back."""

    def __init__(self, messages):
        self.messages = messages
        self.received = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.sendto(self.messages[0])

    def datagram_received(self, data, addr):
        self.received.append(data)
        if len(self.received) == len(self.messages):
            return self.transport.close()
        self.transport.sendto(self.messages[len(self.received)])

    def error_received(self, exc):
        self.done.set_exception(exc)

    def connection_lost(self, exc):
        self.done.set_result(self.received)


async def ask(port, messages):
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(lambda: Asker(messages), remote_addr=("127.0.0.1", port))
    return await asyncio.wait_for(protocol.done, 60)


def ask_program(command, data):
    program = shutil.which(command[0]) or unittest.TestCase().skipTest(command[0] + " is not installed")
    return subprocess.run([program, *command[1:]], input=data, capture_output=True, timeout=60, check=True).stdout


class EchoUdp(unittest.TestCase):
    def test_datagrams_come_back_whole_over_either_family(self):
        for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
            with self.subTest(host), listening("echo", "--udp", "--port", 0, "--host", host) as port:
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.settimeout(60)
                    client.connect((host, port))
                    for data in b"", b"x", bytes(range(256)), os.urandom(1400), os.urandom(65_507):
                        client.send(data)
                        self.assertTrue(client.recv(65_536) == data)

    def test_asyncio(self):
        with listening("echo", "--udp", "--port", 0) as port:
            messages = [b"%d" % i * (i % 100 + 1) for i in range(2000)]   # Python 3.11 sends no empty ones
            self.assertEqual(asyncio.run(ask(port, messages)), messages)

    def test_socat(self):
        with listening("echo", "--udp", "--port", 0) as port:
            self.assertEqual(ask_program(["socat", "-t", "1", "-", f"UDP:127.0.0.1:{port}"], b"hello"), b"hello")

    def test_netcat(self):
        with listening("echo", "--udp", "--port", 0) as port:
            self.assertEqual(ask_program(["nc", "-u", "-w", "1", "127.0.0.1", str(port)], b"hello"), b"hello")

    def test_many_clients_get_their_own(self):
        with listening("echo", "--udp", "--port", 0) as port:
            clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(100)]
            for index, client in enumerate(clients):
                client.settimeout(60)
                client.connect(("127.0.0.1", port))
                client.send(b"%06d" % index)
            for index, client in enumerate(clients):
                self.assertEqual(client.recv(100), b"%06d" % index)
                client.close()

    def test_clients_that_are_gone_do_no_harm(self):
        with listening("echo", "--udp", "--port", 0) as port:
            for _ in range(100):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.sendto(b"and away", ("127.0.0.1", port))
            self.assertEqual(asyncio.run(ask(port, [b"still here"])), [b"still here"])

    def test_an_empty_host_is_all_addresses(self):
        with listening("echo", "--udp", "--port", 0, "--host", "") as port:
            self.assertEqual(asyncio.run(ask(port, [b"hello"])), [b"hello"])

    def test_errors(self):
        with listening("echo", "--udp", "--port", 0) as port:
            for arguments, words in [
                (["--port", port], f"bind 127.0.0.1:{port}: Address already in use"),
                (["--port", "0", "--host", "no-such-host.invalid"], "no-such-host.invalid"),
                (["--port", "0", "--host", "192.0.2.1"], "192.0.2.1"),
            ]:
                with self.subTest(arguments):
                    result = tulp("echo", "--udp", *arguments)
                    self.assertEqual((result.returncode, result.stderr.count(b"\n")), (1, 1))
                    self.assertIn(words, result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
