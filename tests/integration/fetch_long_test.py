"""100 MB with -o: byte for byte, in memory that does not grow, from nginx and from http.server."""
import filecmp
import os
import subprocess
import time
import unittest

from programs import curl, nginx, python_server, run_and_measure, temporary_folder

PIECE_BYTES, PIECE_COUNT = 1_000_000, 100
MOST_RESIDENT_KIB = 16 * 1024   # the program itself, its stacks and buffers: about half of that


class Large(unittest.TestCase):
    def check(self, server):
        with temporary_folder() as folder:
            folder.chmod(0o755)
            piece = os.urandom(PIECE_BYTES)
            with open(folder / "large", "wb") as large:
                for index in range(PIECE_COUNT):
                    large.write(index.to_bytes(8, "big") + piece[8:])
            with server(folder) as port:
                url = f"http://127.0.0.1:{port}/large"
                self.check_output(folder, url)
                self.check_two_at_once(folder, url)

    def check_output(self, folder, url):
        memory_kib, seconds = run_and_measure("fetch", url, "-o", folder / "fetched")
        begin = time.monotonic()
        curl(url, "-o", folder / "curled")
        print(f"100 MB: {seconds:.2f} s (curl {time.monotonic() - begin:.2f} s), {memory_kib} KiB resident")
        self.assertTrue(0 < memory_kib < MOST_RESIDENT_KIB, memory_kib)
        self.assertTrue(filecmp.cmp(folder / "large", folder / "fetched", shallow=False))
        self.assertTrue(filecmp.cmp(folder / "curled", folder / "fetched", shallow=False))

    def check_two_at_once(self, folder, url):
        """The second waits for its turn in a file."""
        with open(folder / "both", "wb") as both:
            memory_kib, _ = run_and_measure("fetch", url, url, stdout=both)
        self.assertTrue(0 < memory_kib < MOST_RESIDENT_KIB, memory_kib)
        command = 'cat "$0" "$0" | cmp - "$1"'
        self.assertEqual(subprocess.call(["sh", "-c", command, folder / "large", folder / "both"]), 0)

    def test_nginx(self):
        self.check(nginx)

    def test_http_server(self):
        self.check(python_server)


if __name__ == "__main__":
    unittest.main()
