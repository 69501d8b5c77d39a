"""tulp-blocking loaded into programs that know nothing of tulp: they behave exactly as without."""
import os
import shutil
import subprocess
import sys
import unittest

import clients
from programs import IS_SANITIZED, TULP, python_server, temporary_folder

LIBRARY = os.path.join(os.path.dirname(TULP), "..", "..", "src", "libtulp-blocking.so.0")
if IS_SANITIZED or not os.path.exists(LIBRARY):
    sys.exit(77)   # a sanitizer stands where it wants to


def run(command, is_loaded, **options):
    environment = {**os.environ, **({"LD_PRELOAD": os.path.realpath(LIBRARY)} if is_loaded else {})}
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False, **options)


class Preload(unittest.TestCase):
    def check(self, *command, has_same_errors=True, **options):
        if shutil.which(command[0]) is None:
            self.skipTest(f"no {command[0]}")
        plain, loaded = (run(command, is_loaded, **options) for is_loaded in (False, True))
        self.assertEqual((plain.returncode, plain.stdout), (loaded.returncode, loaded.stdout))
        if has_same_errors:
            self.assertEqual(plain.stderr, loaded.stderr)
        return loaded

    def test_curl(self):
        with temporary_folder() as folder:
            (folder / "page").write_bytes(os.urandom(3_000_000))
            with python_server(folder) as port:
                url = f"http://localhost:{port}/page"
                self.assertEqual(self.check("curl", "-sS", url, url, url).returncode, 0)
                nobody = self.check("curl", "-sS", "http://127.0.0.1:1/", has_same_errors=False)   # with milliseconds
                self.assertEqual(nobody.returncode, 7)

    def test_a_server_in_python(self):
        script = ("import http.server, threading, urllib.request\n"
                  "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
                  "server.RequestHandlerClass.log_message = lambda *_: None\n"
                  "threading.Thread(target=server.serve_forever).start()\n"
                  "url = f'http://localhost:{server.server_port}/'\n"
                  "print(all(urllib.request.urlopen(url).status == 200 for _ in range(50)))\n"
                  "server.shutdown()\n")
        self.assertEqual(self.check(sys.executable, "-c", script).stdout, b"True\n")

    def test_asyncio_with_children(self):
        script = ("import asyncio, subprocess\n"
                  "async def main():\n"
                  "    process = await asyncio.create_subprocess_exec('cat', stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
                  "    print(len((await process.communicate(b'x' * 1000000))[0]), await asyncio.sleep(0.01, 'slept'))\n"
                  "asyncio.run(main())\n")
        self.assertEqual(self.check(sys.executable, "-c", script).stdout, b"1000000 slept\n")

    def test_openssl(self):
        self.check("openssl", "s_client", "-connect", "127.0.0.1:1", has_same_errors=False)   # with addresses in memory
        self.check("openssl", "dgst", "-sha256", sys.executable)

    def test_a_shell_with_pipes(self):
        result = self.check("sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x | wc -c; sleep 0.01; (exit 3)")
        self.assertEqual((result.stdout.strip(), result.returncode), (b"5000000", 3))

    def test_socat(self):
        self.check("socat", "-u", "EXEC:seq 1 20000", "STDOUT")

    def test_psql(self):
        with clients.postgres() as (by_socket, by_tcp, _):
            script = ("create temporary table t (i int); \\copy t from program 'seq 1 20000'\n"
                      "select sum(i), count(*) from t; \\copy t to stdout\n"
                      "select repeat('x', 3000000); select 1 / 0; \\! echo a shell\n")
            for where in by_socket, by_tcp + " sslmode=require":
                result = self.check("psql", "-X", where, input=script.encode())
                self.assertIn(b"200010000 | 20000", result.stdout)

    def test_redis(self):
        with clients.redis() as (port, path, _):
            for where in ["-p", str(port)], ["-s", str(path)]:
                script = b"FLUSHALL\nSET a 1\nINCR a\nGET a\nLPUSH l x y z\nBLPOP l 1\nBLPOP none 0.05\n"
                result = self.check("redis-cli", *where, input=script)
                self.assertIn(b"2\n", result.stdout)
                for is_loaded in False, True:   # it prints how fast it is
                    result = run(["redis-benchmark", *where, "-q", "-n", "2000", "-t", "set,get", "--csv"], is_loaded)
                    self.assertEqual((result.returncode, result.stderr), (0, b""))
                    names = [line.split(b",")[0] for line in result.stdout.splitlines()]
                    self.assertEqual(names, [b'"test"', b'"SET"', b'"GET"'])

    def test_mariadb(self):
        with clients.mariadb() as (path, _):
            result = self.check("mariadb", "--no-defaults", "-u", "root", "-S", str(path),
                                input=b"SELECT SUM(seq), COUNT(*) FROM mysql.seq_1_to_20000; SELECT REPEAT('x', 300000);\n")
            self.assertIn(b"200010000\t20000", result.stdout)

    def test_tulp_itself(self):
        with temporary_folder() as folder:
            (folder / "page").write_bytes(os.urandom(300_000))
            with python_server(folder) as port:
                self.assertEqual(self.check(TULP, "fetch", f"http://localhost:{port}/page").returncode, 0)


if __name__ == "__main__":
    unittest.main()
