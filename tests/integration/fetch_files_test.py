"""Where tulp fetch puts what it brings: several files, files named by their URLs, and files that it goes on with."""
import os
import signal
import subprocess
import time
import unittest

from programs import RawServer, TULP, nginx, python_server, reply, temporary_folder, tulp

DATA = os.urandom(300_000)


def partial(begin, data=DATA, **changes):
    """A reply with what is behind `begin`, as it should be but for `changes`."""
    end, total = changes.get("end", len(data) - 1), changes.get("total", len(data))
    content_range = changes.get("content_range", f"bytes {changes.get('first', begin)}-{end}/{total}")
    return reply(data[begin:], *([f"Content-Range: {content_range}"] if content_range else []),
                 status="206 Partial Content")


class Names(unittest.TestCase):
    def test_several_outputs_stand_for_the_urls_in_order(self):
        with temporary_folder() as folder, RawServer(lambda c, r: c.sendall(reply(r.split()[1]))) as server:
            fetched = tulp("fetch", "-o", "a", server.url + "/1", "-o", "-", "-o", "b", server.url + "/2", server.url + "/3",
                           cwd=folder)
            self.assertEqual((fetched.returncode, fetched.stdout), (0, b"/2"))
            self.assertEqual({path.name: path.read_bytes() for path in folder.iterdir()}, {"a": b"/1", "b": b"/3"})

    def test_the_remote_name_is_the_last_part_of_the_path(self):
        names = {"/a/b.txt": "b.txt", "/a/b.txt?x=/y#/z": "b.txt", "/c%2F..%2Fd": "c%2F..%2Fd", "/%2e%2e": "%2e%2e",
                 "/a/./e": "e", "/-f": "-f", "/..g": "..g", "/h%00i": "h%00i"}
        with temporary_folder() as outer, RawServer(reply(b"page")) as server:
            folder = outer / "folder"
            folder.mkdir()
            for path, name in names.items():
                with self.subTest(path):
                    self.assertEqual(tulp("fetch", "-O", server.url + path, cwd=folder).returncode, 0)
                    self.assertEqual([file.name for file in folder.iterdir()], [name])
                    (folder / name).unlink()
            self.assertEqual(list(outer.iterdir()), [folder])

    def test_urls_without_a_name_and_names_used_twice_are_refused_before_anything_is_sent(self):
        with temporary_folder() as folder, RawServer(reply(b"page")) as server:
            for args, why in ((["-O", "/"], "no file name"), (["-O", ""], "no file name"), (["-O", "/a/.."], "no file name"),
                              (["-O", "/."], "no file name"), (["-O", "/x/a", "/y/a"], "two URLs would be written to a"),
                              (["-o", "a", "-o", "a", "/x", "/y"], "two URLs"), (["-o", "a", "/x", "/y"], "one for each"),
                              (["-o", "a", "-o", "b", "/x"], "one for each"), (["-O", "-o", "a", "/x"], "excludes"),
                              (["-C", "-", "/x"], "needs a file"), (["-C", "100", "-O", "/x"], "'-' alone"),
                              (["-C", "-", "-O", "-i", "/x"], "excludes"),
                              (["-C", "-", "-O", "-H", "range: bytes=0-", "/x"], "excludes"),
                              (["-C", "-", "-O", "-d", "x", "/x"], "excludes")):
                with self.subTest(args):
                    urls = [server.url + arg if arg.startswith("/") or not arg else arg for arg in args]
                    fetched = tulp("fetch", *urls, cwd=folder)
                    self.assertEqual((fetched.returncode, fetched.stderr.count(b"\n")), (2, 1), fetched.stderr)
                    self.assertIn(why, fetched.stderr.decode())
            self.assertEqual((list(folder.iterdir()), server.requests), ([], []))
            self.assertEqual(tulp("fetch", *["-o", "/dev/null"] * 2, *[server.url] * 2).returncode, 0)


class Resuming(unittest.TestCase):
    def resume(self, answer, had, code=0, words="", left=None):
        """Goes on with `had`; gives the header fields that the server saw.  `left` is what stands in the file then."""
        seen = []

        def note_and_answer(connection, request):
            seen.append(request.decode("latin-1"))
            connection.sendall(answer)
        with temporary_folder() as folder, RawServer(note_and_answer) as server:
            if had is not None:
                (folder / "file").write_bytes(had)
            fetched = tulp("fetch", "-C", "-", "-o", folder / "file", server.url)
            self.assertEqual((fetched.returncode, fetched.stdout), (code, b""), fetched.stderr)
            self.assertIn(words, fetched.stderr.decode())
            self.assertEqual(fetched.stderr.count(b"\n"), 1 if code else 0)
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            expected = DATA if left is None and code == 0 else had if left is None else left
            self.assertTrue(files == ({} if expected is None else {"file": expected}), {k: len(v) for k, v in files.items()})
        return seen[0]

    def test_it_asks_for_what_is_missing_and_puts_it_behind(self):
        self.assertIn("\r\nRange: bytes=1000-\r\n", self.resume(partial(1000), DATA[:1000]))
        self.assertIn("\r\nRange: bytes=299999-\r\n", self.resume(partial(299_999), DATA[:-1]))
        self.resume(partial(1000, total="*"), DATA[:1000])
        for had in None, b"":
            self.assertNotIn("Range", self.resume(reply(DATA), had))

    def test_a_file_that_is_complete_stays_as_it_is(self):
        self.resume(reply(b"sorry", f"Content-Range: bytes */{len(DATA)}", status="416 Range Not Satisfiable"), DATA)
        self.resume(reply(DATA), DATA)   # as curl, of a server that knows no ranges

    def test_what_does_not_fit_is_refused_and_the_file_is_left_alone(self):
        had = DATA[:1000]
        for answer, code, words in (
                (reply(DATA), 33, "cannot go on at 1000: the server does not send parts"),
                (partial(1000, first=0, end=1000), 33, "sends from 0 on"),
                (partial(1000, first=1001), 33, "sends from 1001 on"),
                (partial(1000, end=2000), 33, "does not send all"),
                (partial(1000, end=299_998, total="*"), 33, "is not what it sends"),
                (partial(1000, content_range=""), 33, "does not say what it sends"),
                (partial(1000, content_range="bytes 5000-1000/6000"), 33, "does not say"),
                (partial(1000, content_range="bytes 1000-"), 33, "does not say"),
                (partial(1000, content_range="pages 1000-299999/300000"), 33, "does not say"),
                (partial(1000, content_range="bytes 1000-99999999999999999999/99999999999999999999"), 33, "does not say"),
                (reply(b"", "Content-Range: bytes */500", status="416 No"), 33, "the server has 500 bytes"),
                (reply(b"", status="416 No"), 33, "does not say how much"),
                (reply(b"sorry", status="404 Not Found"), 22, "answered 404 Not Found"),
                (reply(b"sorry", status="500 Oops"), 22, "answered 500 Oops"),
                (b"HTTP/1.1 2", 8, "weird reply")):
            with self.subTest(words):
                self.resume(answer, had, code, words)

    def test_a_beginning_that_fails_leaves_no_file_unless_something_came(self):
        self.resume(reply(b"sorry", status="404 Not Found"), None, 22)
        self.resume(b"", None, 52)
        self.resume(reply(DATA)[:-1], None, 18, "299999 of 300000", left=DATA[:-1])

    def test_what_came_before_an_interruption_is_kept_and_gone_on_with(self):
        def stop_half_way(connection, request):
            if b"Range: bytes=1000-" in request:
                return connection.sendall(partial(1000))
            connection.sendall(reply(DATA)[:-len(DATA) + 1000])
            return connection.recv(1)
        for number in signal.SIGINT, signal.SIGKILL:
            with self.subTest(number), temporary_folder() as folder, RawServer(stop_half_way) as server:
                command = [TULP, "fetch", "-C", "-", "-O", server.url + "/file"]
                with subprocess.Popen(command, cwd=folder) as process:
                    while not any(path.stat().st_size == 1000 for path in folder.iterdir()):
                        time.sleep(0.01)
                    process.send_signal(number)
                subprocess.run(command, cwd=folder, check=True, timeout=60)
                self.assertTrue((folder / "file").read_bytes() == DATA)

    def test_nginx_and_http_server(self):
        with temporary_folder() as folder:
            folder.chmod(0o755)
            (folder / "data").write_bytes(DATA)
            with nginx(folder) as port, python_server(folder) as simple_port:
                for size in 0, 1, 65536, len(DATA) - 1, len(DATA):
                    (folder / "mine").write_bytes(DATA[:size])
                    fetched = tulp("fetch", "-C", "-", "-o", folder / "mine", f"http://127.0.0.1:{port}/data")
                    self.assertEqual((fetched.returncode, fetched.stderr), (0, b""))
                    self.assertTrue((folder / "mine").read_bytes() == DATA)
                (folder / "mine").write_bytes(DATA + b"more")
                fetched = tulp("fetch", "-C", "-", "-o", folder / "mine", f"http://127.0.0.1:{port}/data")
                self.assertEqual(fetched.returncode, 33, fetched.stderr)
                (folder / "mine").write_bytes(DATA[:1])   # http.server knows no ranges
                fetched = tulp("fetch", "-C", "-", "-o", folder / "mine", f"http://127.0.0.1:{simple_port}/data")
                self.assertEqual((fetched.returncode, (folder / "mine").read_bytes()), (33, DATA[:1]))

    def test_a_full_disk_is_an_error(self):
        with RawServer(reply(DATA)) as server:
            fetched = tulp("fetch", "-C", "-", "-o", "/dev/full", server.url)
            self.assertEqual((fetched.returncode, fetched.stderr), (23, b"tulp fetch: /dev/full: No space left on device\n"))


if __name__ == "__main__":
    unittest.main()
