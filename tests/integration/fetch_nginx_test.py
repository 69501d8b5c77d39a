"""tulp fetch brings what curl brings from nginx: files of all sizes, chunks, redirects, errors."""
import os
import unittest

from programs import curl, nginx, temporary_folder, tulp

SIZES = [0, 1, 4095, 65535, 65536, 65537, 1_000_000, 5 * 1024 * 1024]


class Nginx(unittest.TestCase):
    def test_bodies_are_what_curl_gets(self):
        with temporary_folder() as folder:
            folder.chmod(0o755)
            (folder / "page.txt").write_text("hello\n")
            for size in SIZES:
                (folder / str(size)).write_bytes(os.urandom(size))
            with nginx(folder) as port:
                paths = [*map(str, SIZES), *(f"chunked/{size}" for size in SIZES), "moved", "empty", "no-such-file"]
                for path in paths:
                    with self.subTest(path):
                        url = f"http://127.0.0.1:{port}/{path}"
                        fetched = tulp("fetch", url)
                        self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
                        self.assertEqual(fetched.stdout, curl("-L", url))
                self.assertIn(b"Transfer-Encoding: chunked", curl("-i", f"http://127.0.0.1:{port}/chunked/65537"))
                urls = [f"http://127.0.0.1:{port}/{path}" for path in paths]
                self.assertEqual(tulp("fetch", *urls).stdout, curl("-L", *urls))


if __name__ == "__main__":
    unittest.main()
