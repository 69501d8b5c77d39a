"""Programs that speak TLS, as peers with a person's hands on them: openssl and socat, with what is typed into them and what
they print.  For nc_tls_test.py, proxy_tls_test.py and their long edition."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from programs import TULP

MAKE_CERTIFICATES = pathlib.Path(TULP).parents[2] / "tests" / "programs" / "make_certificates"
LIMIT_SECONDS = 60
TRUNCATED = "the data are truncated, for the peer did not say that it ends"


@contextlib.contextmanager
def certificates():
    """A folder with those of make_certificates."""
    with tempfile.TemporaryDirectory(prefix="tulp-test-") as folder:
        subprocess.run([MAKE_CERTIFICATES, folder], check=True, timeout=LIMIT_SECONDS)
        yield pathlib.Path(folder)


def installed(name):
    return shutil.which(name) or unittest.TestCase().skipTest(f"{name} is not installed")


def exactly(connection, size):
    """So many bytes of a socket."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, f"it ended after {len(data)} of {size} bytes"
        data += piece
    return data


class Person:
    """Somebody at a program: reads what it prints on either output, and types.  The program is gone when the `with` block
    ends."""

    def __init__(self, *command):
        self.process = subprocess.Popen([installed(command[0]), *map(str, command[1:])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.printed = b""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.printed += data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.reader.join()
        with contextlib.suppress(BrokenPipeError):   # what was typed and not taken
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def type(self, text):
        with contextlib.suppress(BrokenPipeError):   # it may just have ended
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def sees(self, pattern, times=1):
        """Waits until it is printed, so many times; gives the last match."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while len(matches := list(re.finditer(pattern, self.printed, re.M))) < times:
            has_ended = self.process.poll() is not None and not self.reader.is_alive()
            assert not has_ended and time.monotonic() < deadline, (pattern, self.printed.decode("latin-1"))
            time.sleep(0.005)
        return matches[-1]

    def ends(self):
        """Waits for that; gives the exit code."""
        code = self.process.wait(LIMIT_SECONDS)
        self.reader.join()
        return code


def identity(folder, name):
    return "-cert", folder / f"{name}.pem", "-cert_chain", folder / f"{name}.pem", "-key", folder / f"{name}.key"


@contextlib.contextmanager
def s_server(folder, name, *args):
    """openssl s_server; gives the person at it, and the port.  Its own commands stand at the beginning of a line: Q
    ends without a word, K asks for new keys."""
    with Person("openssl", "s_server", "-accept", "127.0.0.1:0", *identity(folder, name), *args) as person:
        yield person, int(person.sees(rb"^ACCEPT .*:(\d+)")[1])


def s_client(folder, port, *args):
    """The person at openssl s_client.  Q ends as TLS wants it."""
    return Person("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
                  folder / "ca.pem", "-verify_return_error", *args)


@contextlib.contextmanager
def socat_server(folder, command):
    """socat, which joins the first client over TLS to a command; gives the person at it, and the port."""
    listen = f"OPENSSL-LISTEN:0,bind=127.0.0.1,cert={folder}/good.pem,key={folder}/good.key,verify=0"
    with Person("socat", "-d", "-d", f"-t{LIMIT_SECONDS}", listen, command) as person:
        yield person, int(person.sees(rb"listening on .*:(\d+)$")[1])
