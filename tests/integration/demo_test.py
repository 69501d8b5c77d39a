"""tulp demo: it ends well, says so plainly, and looks after its looks."""
import re
import unittest

from programs import RawServer, free_port, on_terminal, reply, tulp


class Demo(unittest.TestCase):
    def test_without_arguments_it_fetches_from_itself(self):
        result = tulp("demo")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        text = result.stdout.decode()
        self.assertIn("all 2000 pages", text)
        self.assertRegex(text, r"on 1 thread\b")
        self.assertTrue(all(line.isprintable() and len(line) <= 80 for line in text.split("\n")), text)

    def test_small_and_large_numbers(self):
        for pages, fibers in (1, 1), (10, 100), (20, 1), (3000, 1000):
            with self.subTest(pages=pages, fibers=fibers):
                result = tulp("demo", "--pages", pages, "--fibers", fibers)
                self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_urls_make_a_table(self):
        port = free_port()
        with RawServer(reply(b"page")) as good, RawServer(reply(b"", status="500 Sorry")) as bad:
            result = tulp("demo", good.url, bad.url, f"http://127.0.0.1:{port}/" + "x" * 200)
            self.assertEqual(tulp("demo", good.url).returncode, 0)
        lines = result.stdout.decode().splitlines()
        self.assertEqual((result.returncode, result.stderr), (1, b""))
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        self.assertTrue(any(re.match(rf"  200 .* 4 B .*{good.url}$", line) for line in lines), lines)
        self.assertTrue(any(re.match(rf"  500 .* 0 B .*{bad.url}$", line) for line in lines), lines)
        self.assertTrue(any("Connection refused" in line for line in lines), lines)

    def test_a_terminal_gets_a_live_line_and_colours(self):
        text, code = on_terminal("demo", "--pages", "200")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"\r  \[#*-*\] \d+ of 200 pages")
        self.assertIn("\x1b[32mall 200 pages\x1b[0m", text)

    def test_no_color_is_respected(self):
        for environment in {"NO_COLOR": "1"}, {"TERM": "dumb"}:
            with self.subTest(environment):
                text, code = on_terminal("demo", "--pages", "50", **environment)
                self.assertEqual((code, re.findall(r"\x1b\[[0-9;]*m", text)), (0, []))

    def test_bad_arguments(self):
        for arguments in ["--pages", "0"], ["--fibers", "0"], ["--port", "65536"], ["--bogus"]:
            with self.subTest(arguments):
                result = tulp("demo", *arguments)
                self.assertEqual((result.returncode, result.stderr.count(b"\n"), result.stdout), (2, 1, b""))


if __name__ == "__main__":
    unittest.main()
