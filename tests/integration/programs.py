"""What the scripts of this folder share: the tulp program, and servers for it to talk to, each on a port that the
system picks and gone when its `with` block ends."""
import contextlib
import fcntl
import functools
import http.server
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

TULP = os.environ.get("TULP") or sys.exit("set TULP to the tulp program")
RELAY = pathlib.Path(TULP).parents[2] / "tests" / "programs" / "relay"
CROWD = RELAY.parent / "crowd"
CHILDREN = RELAY.parent / "children"
SKIPPED = 77
# The memory of such a program says nothing, for AddressSanitizer keeps what was freed.
IS_SANITIZED = b"__asan_init" in pathlib.Path(TULP).read_bytes()
PATH = os.environ["PATH"] + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"


def tulp(*args, timeout=60, **options):
    """Runs tulp to its end; stdout and stderr are bytes."""
    return subprocess.run([TULP, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
                          check=False, **options)


def run_and_measure(*command, code=0, **options):
    """The most that tulp had resident, in KiB, and the seconds that it took; it must end with `code`."""
    begin, peak_kib = time.monotonic(), 0
    with subprocess.Popen([TULP, *command], **options) as process:
        while process.poll() is None:   # rusage would count what this script had resident when it forked
            with contextlib.suppress(OSError, StopIteration):
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
                peak_kib = int(next(line for line in status if line.startswith("VmHWM:")).split()[1])
            time.sleep(0.001)
    assert process.returncode == code, (command, process.returncode)
    return peak_kib, time.monotonic() - begin


def on_terminal(*args, size=(24, 80), look=lambda text: None, **environment):
    """All that tulp writes to a terminal, and its exit code.  `size` are its lines and columns; `look(text)` sees what has
    been written so far, each time that there is more."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
        os.execve(TULP, [TULP, *args], {**os.environ, "TERM": "xterm", **environment})
    text = b""
    try:
        while data := os.read(terminal, 65536):
            text += data
            look(text.decode(errors="replace"))
    except OSError:   # the other side is closed
        pass
    os.close(terminal)
    return text.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def curl(*args):
    """What curl prints, as a peer to agree with."""
    return subprocess.run(["curl", "-sS", *map(str, args)], capture_output=True, timeout=60, check=True).stdout


@contextlib.contextmanager
def temporary_folder():
    with tempfile.TemporaryDirectory(prefix="tulp-test-") as folder:
        yield pathlib.Path(folder)


@contextlib.contextmanager
def serving(*args):
    """A tulp command that prints "listening on WHERE"; gives what stands there."""
    with subprocess.Popen([TULP, *map(str, args)], stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline().decode()
            assert line.startswith("listening on "), line
            yield line.removeprefix("listening on ").rstrip("\n")
        finally:
            process.terminate()
        assert process.wait(timeout=60) == 143, process.returncode   # not because a sanitizer stopped it


@contextlib.contextmanager
def listening(*args):
    """As serving(), on HOST:PORT; gives the port."""
    with serving(*args) as where:
        yield int(where.rpartition(":")[2])


def descriptor_count(process):
    """How many it has open, by which one sees from outside that it has got its connections."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def python_server(folder):
    """http.server with the files of `folder`; gives the port."""
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


NGINX_CONFIGURATION = """
daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  server {{
    listen 127.0.0.1:{port}{ssl};
    {tls}
    root {folder};
    location /chunked/ {{ alias {folder}/; ssi on; ssi_types *; }}
    location = /moved {{ return 301 /page.txt; }}
    location = /empty {{ return 204; }}
  }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def on_free_port(start, why_not):
    """A program that takes no port 0: `start(port)` gives its process.  Gives the port when somebody listens there;
    `why_not()` is what there is to say if that does not come about."""
    for _ in range(5):   # a port that was free may be taken when the program comes to it
        port = free_port()
        with start(port) as process:
            while process.poll() is None and not accepts(port):
                time.sleep(0.01)
            if process.poll() is not None:
                continue
            try:
                yield port
            finally:
                process.send_signal(signal.SIGTERM)
            return
    raise RuntimeError(why_not())


@contextlib.contextmanager
def nginx(folder, tls=""):
    """nginx with the files of `folder`; /chunked/X is X in chunks, /moved leads to /page.txt; gives the port.  `tls` are
    the lines that make it speak https."""
    program = shutil.which("nginx", path=PATH) or sys.exit(SKIPPED)
    with temporary_folder() as work:
        def start(port):
            ssl = " ssl" if tls else ""
            (work / "conf").write_text(NGINX_CONFIGURATION.format(work=work, folder=folder, port=port, ssl=ssl, tls=tls))
            return subprocess.Popen([program, "-c", work / "conf", "-e", work / "errors"])
        with on_free_port(start, (work / "errors").read_text) as port:
            yield port


class RawServer:
    """Calls `answer(connection, request)` in a thread for each connection, with what came up to the empty line, and
    then closes.  `answer` may be the bytes to send.  `requests` keeps the first line of each request."""

    def __init__(self, answer, host="127.0.0.1"):
        self.host = host
        self.answer = (lambda connection, _: connection.sendall(answer)) if isinstance(answer, bytes) else answer
        self.requests = []

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.create_server((self.host, 0), family=family, backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closed.set()
        self.listener.shutdown(socket.SHUT_RDWR)   # close() alone would not wake accept()
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                if not (data := connection.recv(65536)):
                    return
                request += data
            self.requests.append(request.partition(b"\r\n")[0].decode("latin-1"))
            self.answer(connection, request)


def check_complaints(stderr):
    """A server may speak of peers that were rude, and of nothing else."""
    for line in stderr.decode().splitlines():
        assert re.search("Connection reset by peer|Broken pipe|connection was lost", line), line


def reset(connection):
    """Closes with a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def reply(body, *fields, status="200 OK"):
    """A whole HTTP reply."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode("latin-1") + body
