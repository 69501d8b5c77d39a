"""tulp serve in volumes: a crowd that does not read, wrk for some seconds, and a browser that loads a site over HTTPS."""
import base64
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import zlib

import serve_test
from programs import IS_SANITIZED, curl
from volumes import allow_descriptors, descriptor_count, wait_until

CROWD = 100
AT_ONCE = 9_900
PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><link rel="stylesheet" href="style.css"></head>
<body><h1>a page</h1><img id="picture" src="picture.png"><p id="said">nothing yet</p><script src="script.js"></script></body></html>"""
SCRIPT = """addEventListener("load", async () => {
  const picture = document.getElementById("picture");
  const data = await (await fetch("data/numbers.json")).json();
  const range = await fetch("data/numbers.json", {headers: {Range: "bytes=0-3"}});
  const colour = getComputedStyle(document.querySelector("h1")).color;
  document.getElementById("said").textContent =
    `picture ${picture.naturalWidth} colour ${colour} sum ${data.reduce((a, b) => a + b)} range ${range.status} ${await range.text()}`;
});"""


def png(width, height):
    """A picture of one colour."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    rows = (b"\0" + b"\x20\x80\xc0" * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0")
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def ask_for_page(connection):
    connection.sendall(b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n")
    reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 200 ") and reply.endswith(serve_test.DIGITS), reply


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


class Volumes(serve_test.Server):
    def test_a_crowd_that_does_not_read_costs_little_memory_and_is_ended(self):
        with open(self.folder / "huge.bin", "wb") as file:
            file.truncate(1 << 30)
        with self.serving("--send-timeout", "3"):
            curl(self.url + "/page.txt")
            before = resident_kib(self.process.pid)
            crowd = [self.enterContext(self.connect()) for _ in range(CROWD)]
            for connection in crowd:
                connection.sendall(b"GET /huge.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            time.sleep(1)
            self.assertEqual(curl(self.url + "/page.txt"), serve_test.DIGITS)
            if not IS_SANITIZED:
                self.assertLess(resident_kib(self.process.pid) - before, CROWD * 64)
            deadline = time.monotonic() + 30
            while (self.outer / "stderr").read_text().count("it takes less than 16 KiB") < CROWD:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            for connection in crowd:
                with self.assertRaises(ConnectionError):
                    while connection.recv(1 << 20):
                        pass
        self.assertEqual(self.errors.count("it takes less than 16 KiB"), CROWD)

    def test_many_slow_headers_keep_nobody_else_waiting(self):
        with self.serving("--head-timeout", "2"):
            crowd = [self.enterContext(self.connect()) for _ in range(1000)]
            began = time.monotonic()
            while time.monotonic() - began < 4:
                for connection in crowd:
                    try:
                        connection.send(b"X")
                    except OSError:
                        pass
                self.assertEqual(curl("--max-time", "1", self.url + "/page.txt"), serve_test.DIGITS)
        self.assertEqual(self.errors.count("408: "), 1000)

    def test_ten_thousand_connections_at_once_are_kept_and_asked_again(self):
        allow_descriptors(2 * AT_ONCE + 100)
        with self.serving("--quiet", "--idle-timeout", "300"):
            before, begin = resident_kib(self.process.pid), time.monotonic()
            connections = []
            for _ in range(AT_ONCE):
                connections.append(self.enterContext(self.connect()))
                ask_for_page(connections[-1])
            with_all = resident_kib(self.process.pid)
            for connection in connections:
                ask_for_page(connection)
            print(f"{AT_ONCE} connections asked twice in {time.monotonic() - begin:.1f} s, "
                  f"{(with_all - before) * 1024 // AT_ONCE} bytes each")
            if not IS_SANITIZED:
                self.assertLess(with_all - before, AT_ONCE * 24)
            descriptors = descriptor_count(self.process)
            for connection in connections:
                connection.close()
            wait_until(lambda: descriptor_count(self.process) <= descriptors - AT_ONCE)
            self.assertEqual(curl(self.url + "/page.txt"), serve_test.DIGITS)

    def test_wrk_finds_no_error(self):
        wrk = shutil.which("wrk") or self.skipTest("no wrk")
        for options in [], ["--workers", "2"]:
            with self.serving("--access-log", str(self.outer / "log"), *options):
                for target in "page.txt", "large.bin":
                    load = subprocess.run([wrk, "-t2", "-c100", "-d5s", "--timeout", "30s", f"{self.url}/{target}"], capture_output=True, text=True,
                                          timeout=60, check=True)
                    self.assertNotRegex(load.stdout, "Non-2xx|read [1-9]|timeout [1-9]")
                self.assertEqual(curl(self.url + "/page.txt"), serve_test.DIGITS)
            self.assertEqual(self.errors, "")

    def test_a_browser_loads_a_site_over_https(self):
        chromium = shutil.which("chromium") or self.skipTest("no chromium")
        (self.folder / "index.html").write_text(PAGE)
        (self.folder / "style.css").write_text("h1 { color: rgb(1, 2, 3) }")
        (self.folder / "script.js").write_text(SCRIPT)
        (self.folder / "picture.png").write_bytes(png(40, 30))
        (self.folder / "data").mkdir()
        (self.folder / "data" / "numbers.json").write_text("[1, 2, 39]")
        files = [str(self.outer / name) for name in ("chain.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
                       check=True, capture_output=True)
        public = subprocess.run(["openssl", "x509", "-in", files[0], "-pubkey", "-noout"], check=True, capture_output=True).stdout
        key = base64.b64decode(b"".join(public.splitlines()[1:-1]))
        digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=key, check=True, capture_output=True).stdout
        with self.serving("--tls-cert", files[0], "--tls-key", files[1]), tempfile.TemporaryDirectory() as profile:
            page = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                                   "--disable-background-networking", "--disable-component-update", "--disable-sync",
                                   f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom",
                                   "--ignore-certificate-errors-spki-list=" + base64.b64encode(digest).decode(),
                                   f"https://localhost:{self.port}/"], capture_output=True, text=True, timeout=120, check=True)
        self.assertIn("picture 40 colour rgb(1, 2, 3) sum 42 range 206 [1, ", page.stdout)
        self.assertIn('"GET /style.css HTTP/1.1" 200', self.log)


if __name__ == "__main__":
    unittest.main()
