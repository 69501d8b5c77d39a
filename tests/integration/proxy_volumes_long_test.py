"""tulp proxy in volumes: as many connections at once as there are descriptors for, and twenty thousand that end at any
stage, over TLS and without."""
import concurrent.futures
import contextlib
import random
import shutil
import socket
import ssl
import subprocess
import time
import unittest

from programs import CROWD, IS_SANITIZED, listening, nginx, reset
from proxy_test import Proxy
from tls_peers import certificates, exactly
from volumes import allow_descriptors, descriptor_count, echo_server, status_kib, wait_until

AT_ONCE = 9_900   # of which the proxy holds two descriptors each
IN_TURN = 20_000
THREADS = 8
GROWTH_KIB = 5 * 1024


class Volumes(unittest.TestCase):
    def test_ten_thousand_connections_at_once(self):
        allow_descriptors(2 * AT_ONCE + 100)
        with listening("echo", "--port", 0) as port, \
                Proxy("--to", port, "--max-connections", AT_ONCE, "--quiet") as proxy:
            process = proxy.process
            descriptors, before_kib, begin = descriptor_count(process), status_kib(process, "VmRSS"), time.monotonic()
            said = subprocess.run([CROWD, str(proxy.port), str(AT_ONCE), "4"], stdout=subprocess.PIPE, timeout=300, check=True)
            seconds, most_kib = time.monotonic() - begin, status_kib(process, "VmHWM")
            print(f"{AT_ONCE} connections exchanged 4 times in {seconds:.1f} s; in the proxy "
                  f"{(most_kib - before_kib) * 1024 // AT_ONCE} bytes each, in the crowd {said.stdout.decode().strip()}")
            wait_until(lambda: descriptor_count(process) == descriptors)
        self.assertEqual(proxy.errors, "")

    def test_wrk_and_nginx_find_no_error_with_tls_on_either_side(self):
        wrk = shutil.which("wrk") or self.skipTest("no wrk")
        with certificates() as folder:
            folder.chmod(0o755)   # for nginx
            (folder / "page").write_bytes(bytes(20_000))
            own = "--tls-cert", folder / "good.pem", "--tls-key", folder / "good.key"
            speaks_tls = f"ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.key;"
            with nginx(folder) as plain, nginx(folder, speaks_tls) as secure:
                for port, args, scheme in (plain, (), "http"), (plain, own, "https"), \
                        (secure, ("--to-tls", "--cacert", folder / "ca.pem"), "http"):
                    with self.subTest(args), Proxy("--to", f"localhost:{port}", "--quiet", *args) as proxy:
                        load = subprocess.run([wrk, "-t2", "-c100", "-d5s", "--timeout", "30s",
                                               f"{scheme}://localhost:{proxy.port}/page"],
                                              capture_output=True, text=True, timeout=60, check=True)
                        print(load.stdout.splitlines()[-2], *map(str, args))
                        self.assertNotRegex(load.stdout, "Non-2xx|connect [1-9]|read [1-9]|timeout [1-9]")

    def test_twenty_thousand_that_end_at_any_stage_leave_nothing_behind(self):
        with certificates() as folder, echo_server("tcp", folder, "tulp echo") as (_, _, port):
            own = "--tls-cert", folder / "good.pem", "--tls-key", folder / "good.key"
            for args in (), own:
                with self.subTest(args), Proxy("--to", port, "--quiet", *args) as proxy:
                    self.end_at_any_stage(proxy, ssl.create_default_context(cafile=folder / "ca.pem") if args else None)

    def end_at_any_stage(self, proxy, context):
        def meet(seed):
            pick = random.Random(seed)
            with proxy.connect() as client, contextlib.suppress(ConnectionError, ssl.SSLError):
                if context is None:
                    self.end(client, pick)
                elif pick.random() < 0.2:   # no TLS, or only its beginning
                    client.sendall(pick.choice([b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b""]))
                else:
                    with context.wrap_socket(client, server_hostname="localhost") as over_tls:
                        self.end(over_tls, pick)

        descriptors, begin = descriptor_count(proxy.process), time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(meet, range(IN_TURN // 4)))
            before_kib = status_kib(proxy.process, "VmRSS")
            list(pool.map(meet, range(IN_TURN // 4, IN_TURN)))
        wait_until(lambda: descriptor_count(proxy.process) == descriptors)
        grown_kib = status_kib(proxy.process, "VmRSS") - before_kib
        print(f"{IN_TURN} connections {'over TLS ' if context else ''}in {time.monotonic() - begin:.1f} s, {grown_kib} KiB more")
        self.assertTrue(grown_kib < GROWTH_KIB or IS_SANITIZED, grown_kib)

    def end(self, client, pick):
        data = pick.randbytes(pick.choice([0, 1, 1000, 100_000]))
        client.sendall(data)
        how = pick.randrange(4)
        if how == 0:
            reset(client)
        elif how == 1 and isinstance(client, ssl.SSLSocket):
            self.assertTrue(exactly(client, len(data)) == data)
            client.unwrap()
        elif how == 1:
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(exactly(client, len(data)) == data)
            self.assertEqual(client.recv(1), b"")
        elif how == 2:
            exactly(client, len(data) // 2)


if __name__ == "__main__":
    unittest.main()
