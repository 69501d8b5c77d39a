"""tulp echo sends everything back, to many at once, and outlives whatever its clients do."""
import os
import socket
import threading
import unittest

from programs import listening, reset, tulp


def talk(port, data):
    """Sends `data` and the end, and returns what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        def send():
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        with connection.makefile("rb") as stream:
            received = stream.read()
        sender.join()
        return received


class Echo(unittest.TestCase):
    def test_everything_comes_back(self):
        with listening("echo", "--port", 0) as port:
            for data in b"", b"x", bytes(range(256)), os.urandom(20_000_000):
                with self.subTest(size=len(data)):
                    self.assertTrue(talk(port, data) == data)

    def test_many_clients_at_once_get_their_own(self):
        with listening("echo", "--port", 0) as port:
            connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(300)]
            for index, connection in enumerate(connections):
                connection.sendall(b"%06d" % index)
            for index, connection in enumerate(connections):
                self.assertEqual(connection.recv(6, socket.MSG_WAITALL), b"%06d" % index)
                connection.close()

    def test_clients_that_reset_do_no_harm(self):
        with listening("echo", "--port", 0) as port:
            for _ in range(50):
                connection = socket.create_connection(("127.0.0.1", port))
                connection.sendall(bytes(100_000))
                reset(connection)
            self.assertEqual(talk(port, b"still here"), b"still here")

    def test_a_client_that_does_not_read_holds_up_nobody_else(self):
        with listening("echo", "--port", 0) as port, socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.setblocking(False)
            try:
                while True:
                    deaf.send(bytes(1_000_000))
            except BlockingIOError:
                pass
            self.assertEqual(talk(port, b"hello"), b"hello")

    def test_it_listens_where_it_is_told(self):
        with listening("echo", "--port", 0, "--host", "localhost") as port:
            self.assertEqual(talk(port, b"hello"), b"hello")

    def test_errors(self):
        with listening("echo", "--port", 0) as port:
            for arguments, code, words in [
                (["--port", port], 1, "Address already in use"),
                (["--port", "0", "--host", "no-such-host.invalid"], 1, "no-such-host.invalid"),
                (["--port", "0", "--host", "192.0.2.1"], 1, "192.0.2.1"),
                ([], 2, "--port"), (["--port", "65536"], 2, "--port"), (["--port", "x"], 2, "--port"),
            ]:
                with self.subTest(arguments):
                    result = tulp("echo", *arguments)
                    self.assertEqual((result.returncode, result.stderr.count(b"\n")), (code, 1))
                    self.assertIn(words, result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
