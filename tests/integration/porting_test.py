"""examples/porting: the ported programs answer as they did before, to each other too, and differ from what they were by the
diff that is kept."""
import pathlib
import socket
import subprocess
import sys
import unittest

from programs import IS_SANITIZED, TULP

BUILT = pathlib.Path(TULP).parents[2] / "examples"
SOURCES = pathlib.Path(__file__).parents[2] / "examples" / "porting"
if IS_SANITIZED or not (BUILT / "porting_after_server").exists():
    sys.exit(77)   # a sanitizer has libc's names before tulp-blocking

CONVERSATION = ["GET a", "SET a one two  three", "GET a", "COUNT", "WAIT a 1000", "WAIT b 20", "DEL a", "DEL a", "WAIT c", "COUNT",
                "", "nonsense", "SET b 2\r", "GET b", "QUIT"]


class Server:
    def __init__(self, edition):
        self.process = subprocess.Popen([BUILT / f"porting_{edition}_server"], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().rsplit(b":")[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return sock, sock.makefile("rw", newline="\n")


def converse(server):
    """What is answered to the conversation, and to a last line that waits for what another connection sets."""
    sock, lines = server.connect()
    answers = []
    with sock, lines:
        for line in CONVERSATION:
            lines.write(line + "\n")
            lines.flush()
            answers.append(lines.readline())
        answers.append(lines.readline())
    waiter, waiting = server.connect()
    setter, setting = server.connect()
    with waiter, waiting, setter, setting:
        waiting.write("WAIT late 20000\n")
        waiting.flush()
        setting.write("GET late\nSET late here\n")
        setting.flush()
        answers += [setting.readline(), setting.readline(), waiting.readline()]
    too_long, lines = server.connect()
    with too_long, lines:
        lines.write("x" * 70_000)
        lines.flush()
        try:
            answers.append(lines.readline())
        except ConnectionResetError:
            answers.append("")
    return answers


class Porting(unittest.TestCase):
    def test_the_same_conversation(self):
        answers = {}
        for edition in ("before", "after"):
            with Server(edition) as server:
                answers[edition] = converse(server)
        self.assertEqual(answers["before"], answers["after"])
        self.assertIn("VALUE one two  three\n", answers["after"])

    def test_each_client_with_each_server(self):
        for edition in ("before", "after"):
            with Server(edition) as server:
                for client in ("before", "after"):
                    result = subprocess.run([BUILT / f"porting_{client}_client", str(server.port), "40", "20"],
                                            capture_output=True, timeout=60, check=False)
                    self.assertEqual((result.returncode, result.stdout, result.stderr),
                                     (0, b"2400 answers, 0 failures\n", b""), (edition, client))

    def test_a_server_that_dies_under_the_client(self):
        for client in ("before", "after"):
            with Server("after") as server:
                with subprocess.Popen([BUILT / f"porting_{client}_client", str(server.port), "10", "1000000"],
                                      stdout=subprocess.PIPE) as process:
                    sock, lines = server.connect()
                    with sock, lines:
                        while True:   # until they are at it
                            lines.write("COUNT\n")
                            lines.flush()
                            if int(lines.readline()) > 0:
                                break
                    server.process.kill()
                    out = process.communicate(timeout=60)[0]
                    self.assertEqual(process.returncode, 1, client)
                    self.assertRegex(out, rb"^\d+ answers, 10 failures, the first: the connection (broke|ended)\n$")

    def test_the_diff_that_is_kept(self):
        for name in ("server", "client"):
            labels = [f"before/{name}.cpp", f"after/{name}.cpp"]
            diff = subprocess.run(["diff", "-u", "--label", labels[0], "--label", labels[1], *labels], cwd=SOURCES,
                                  capture_output=True, check=False).stdout
            self.assertEqual(diff.decode(), (SOURCES / f"{name}.diff").read_text())
            changed = [line for line in diff.splitlines()[2:] if line[:1] in (b"+", b"-")]
            self.assertLess(len(changed), 30)


if __name__ == "__main__":
    unittest.main()
