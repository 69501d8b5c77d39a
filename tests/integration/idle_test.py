"""A program that waits does nothing at all: the kernel does not switch to it, and it gets no processor time."""
import contextlib
import pathlib
import socket
import subprocess
import sys
import time
import unittest

from programs import SKIPPED, TULP

if not pathlib.Path("/proc/self/task").exists():
    sys.exit(SKIPPED)


def activity(pid):
    """How often the threads of a process have gone to sleep, and their processor time in ticks."""
    sleeps = ticks = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        status = (thread / "status").read_text()
        sleeps += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        ticks += sum(map(int, (thread / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return sleeps, ticks


class Idle(unittest.TestCase):
    def assert_idle(self, pid):
        before = activity(pid)
        for _ in range(100):   # until it has done what it was started for
            time.sleep(0.1)
            if before == (before := activity(pid)):
                break
        time.sleep(1)
        self.assertEqual(activity(pid), before)

    def test_a_server_with_a_hundred_silent_clients(self):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                subprocess.Popen([TULP, "echo", "--port", "0"], stdout=subprocess.PIPE))
            stack.callback(server.terminate)
            port = int(server.stdout.readline().rpartition(b":")[2])
            for _ in range(100):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")
            self.assert_idle(server.pid)

    def test_a_client_whose_time_limit_is_far_away(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = "http://127.0.0.1:%d/" % server.getsockname()[1]
            with subprocess.Popen([TULP, "fetch", "--timeout", "3600", url], stderr=subprocess.DEVNULL) as client:
                connection, _ = server.accept()
                with connection:
                    self.assertTrue(connection.recv(65536))   # the request, which nobody answers
                    self.assert_idle(client.pid)
                    client.terminate()


if __name__ == "__main__":
    unittest.main()
