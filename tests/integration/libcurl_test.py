"""libcurl's easy interface in a hundred tasks of one thread, over https with redirects: slow pages, limits, cancellation, a
server that is killed."""
import http.server
import os
import pathlib
import shutil
import subprocess
import threading
import time
import unittest

from clients import MAKE_CERTIFICATES, ClientTest, client, skip
from programs import PATH, nginx, temporary_folder

run = client("curl")
if shutil.which("nginx", path=PATH) is None:
    skip("no nginx here (Debian's nginx-light)")

TLS = """
    ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.key;
    client_max_body_size 20m; client_body_buffer_size 10m;
    location = /to-slow {{ return 302 /slow; }}
    location ~ ^/(slow|never|count)$ {{ proxy_pass http://127.0.0.1:{port}; }}
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Behind nginx: /slow takes 100 ms, /never a minute, and /count says how much it was sent."""

    def log_message(self, *args):
        pass

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/never":
            self.server.is_over.wait(60)
        time.sleep(0.1)
        self.answer(b"slow\n")

    def do_POST(self):
        self.answer(str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())


class SlowServer(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.is_over = threading.Event()

    def handle_error(self, request, client_address):   # nginx has left
        pass


class Curl(ClientTest):
    def test_a_hundred_tasks(self):
        with temporary_folder() as folder, SlowServer() as behind:
            folder.chmod(0o755)
            thread = threading.Thread(target=behind.serve_forever)
            thread.start()
            try:
                subprocess.run([MAKE_CERTIFICATES, folder], check=True)
                (folder / "page.txt").write_text("hello\n")
                (folder / "large").write_bytes(os.urandom(5_000_000))
                with nginx(folder, TLS.format(folder=folder, port=behind.server_port)) as port:
                    arguments = [f"https://localhost:{port}", folder / "ca.pem"]
                    self.run_scenarios(run, arguments, "slow", "large", "timeouts", "cancel-task")
                    self.run_scenarios(run, [*arguments, nginx_process(port)], "killed")
            finally:
                behind.is_over.set()
                behind.shutdown()
                thread.join()


def nginx_process(port):
    """The process that listens on `port`: it has no other."""
    line = next(line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
                if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A")
    for folder in pathlib.Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(os.readlink(fd) == f"socket:[{line[9]}]" for fd in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:
            continue
    raise RuntimeError("nobody listens there")


if __name__ == "__main__":
    unittest.main()
