"""tulp crawl at what is too large for it: pages of 100 MB, thousands of pages, in memory that does not grow with them."""
import json
import os
import tempfile
import unittest

from programs import IS_SANITIZED, RawServer, nginx, run_and_measure, temporary_folder

HTML = "Content-Type: text/html"
MOST_RESIDENT_KIB = 40 * 1024


def crawl(*args, code=0):
    """The report, and the most that tulp had resident, in KiB."""
    with tempfile.TemporaryFile() as output:
        memory_kib, _ = run_and_measure("crawl", "--json", *args, code=code, stdout=output)
        output.seek(0)
        return json.load(output), memory_kib


class Large(unittest.TestCase):
    def check_page(self, piece, kind):
        """100 MB of `piece`, which lead nowhere new."""
        def answer(connection, _):
            count = 100_000_000 // len(piece)
            connection.sendall(f"HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {count * len(piece)}\r\n\r\n".encode())
            for _ in range(count):
                connection.sendall(piece)
        with RawServer(answer) as server:
            report, memory_kib = crawl("--ignore-robots", server.url)
            self.assertGreater(report["bytes"], 99_000_000)
            named = ["the 4 MiB of a page in which links are looked for"] if kind == HTML else []
            self.assertEqual(report["limits_reached"], named)
            report, _ = crawl("--ignore-robots", "--max-bytes", "1000000", server.url, code=1)
            self.assertEqual(report["limits_reached"], ["--max-bytes 1000000"])
            self.assertLess(report["bytes"], 1_200_000)
        print(f"100 MB of {kind}: {memory_kib} KiB resident")
        if not IS_SANITIZED:
            self.assertLess(memory_kib, MOST_RESIDENT_KIB)

    def test_a_page_of_100_mb_of_links(self):
        self.check_page(b'<p><a href="/">home</a> <a href="/?x">there</a></p>\n' * 1000, HTML)

    def test_a_page_of_100_mb_without_an_end_of_a_tag(self):
        self.check_page(b'<a href="' + b"x" * 1000, HTML)

    def test_a_page_of_100_mb_that_calls_itself_a_page_and_is_none(self):
        self.check_page(os.urandom(100_000), HTML)

    def test_100_mb_of_something_else(self):
        self.check_page(os.urandom(100_000), "Content-Type: application/octet-stream")

    def test_5000_pages_of_nginx(self):
        with temporary_folder() as folder:
            folder.chmod(0o755)
            for i in range(5000):
                (folder / f"{i}.html").write_text("".join(f'<a href="{to % 5000}.html">' for to in (i + 1, i * 2, i * 3)))
            with nginx(folder) as port:
                report, memory_kib = crawl("--max-pages", "10000", "--max-depth", "10000", f"http://127.0.0.1:{port}/0.html")
                self.assertEqual((len(report["pages"]), report["limits_reached"]), (5000, []))
                print(f"5000 pages: {memory_kib} KiB resident, {report['seconds']} s")


if __name__ == "__main__":
    unittest.main()
