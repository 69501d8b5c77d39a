"""tulp crawl visits each page of a site once, stays where it was told to, and says what is broken."""
import json
import threading
import time
import unittest

from programs import RawServer, free_port, on_terminal, reply, tulp

HTML = "Content-Type: text/html; charset=utf-8"
SITE = {   # path: (status, what its page holds)
    "/": '<a href="a">a</a> <A HREF=b>b</A> <a href="/gone">x</a> <a href="mailto:x@y">m</a> <img src="/picture.png">',
    "/a": '<a href="../a?x=1&amp;y=2">again</a> <a href="/#top">home</a> <a href="http://localhost:{other}/far">far</a>',
    "/a?x=1&y=2": "<!-- <a href='/comment'> --><script>'<a href=/script>'</script>",
    "/b": '<base href="/deep/"><a href="c">c</a>',
    "/deep/c": '<a href="/deep/d">d</a>',
    "/deep/d": '<a href="/">home</a><a href="/moved">moved</a><a href="http://[">malformed</a>',
    "/moved": None,
    "/here": "here",
    "/picture.png": "",
}


class Site:
    """Serves SITE on 127.0.0.1, with links to a port where nobody answers for another host."""

    def __enter__(self):
        self.server = RawServer(self.answer)
        self.server.__enter__()
        self.other = free_port()
        return self

    def __exit__(self, *args):
        self.server.__exit__(*args)

    def answer(self, connection, request):
        path = request.split(b" ")[1].decode()
        if path == "/moved":
            connection.sendall(reply(b"", "Location: /here", status="301 Moved Permanently"))
        elif path not in SITE:
            connection.sendall(reply(b"no", status="404 Not Found"))
        else:
            kind = "Content-Type: image/png" if path.endswith(".png") else HTML
            connection.sendall(reply(SITE[path].replace("{other}", str(self.other)).encode(), kind))

    @property
    def url(self):
        return self.server.url + "/"

    def paths(self):
        return sorted(request.split(" ")[1] for request in self.server.requests)


class Crawl(unittest.TestCase):
    def test_each_page_is_visited_once_and_what_is_broken_is_told(self):
        with Site() as site:
            crawled = tulp("crawl", site.url)
            self.assertEqual((crawled.returncode, crawled.stderr), (1, b""))
            self.assertEqual(site.paths(), sorted([*SITE, "/gone"]))
            text = crawled.stdout.decode()
            self.assertRegex(text, r"\A11 pages, ")
            self.assertIn(f"  {site.url}gone\n      404 Not Found\n      on {site.url}\n", text)
            self.assertIn("  http://[\n      malformed URL", text)
            self.assertNotIn("There was more", text)

    def test_the_report_for_programs_has_every_page(self):
        with Site() as site:
            report = json.loads(tulp("crawl", "--json", site.url).stdout)
            pages = {page["url"].removeprefix(site.url): page for page in report["pages"]}
            self.assertEqual(len(report["pages"]), 11)
            self.assertEqual((pages[""]["depth"], pages["deep/d"]["depth"], pages["here"]["depth"]), (0, 3, 5))
            self.assertEqual(pages["gone"]["found_on"], site.url)
            self.assertEqual([url for url, page in pages.items() if page["broken"]], ["gone", "http://["])
            self.assertEqual(sum(page["bytes"] for page in report["pages"]), report["bytes"])

    def test_limits_are_kept_and_named(self):
        with Site() as site:
            for args, count, why in ((["--max-pages", 3], 3, "--max-pages 3"), (["--max-depth", 0], 1, "--max-depth 0"),
                                     (["--max-depth", 1], 5, "--max-depth 1")):
                report = json.loads(tulp("crawl", "--json", *args, site.url).stdout)
                self.assertEqual((len(report["pages"]), report["limits_reached"]), (count, [why]))
            report = json.loads(tulp("crawl", "--json", "--max-bytes", 100, "--jobs", 1, site.url).stdout)
            self.assertEqual(report["limits_reached"], ["--max-bytes 100"])
            self.assertIn("--max-bytes", report["pages"][-1]["error"])
            self.assertIn("There was more, but for --max-pages 3.", tulp("crawl", "--max-pages", 3, site.url).stdout.decode())

    def test_other_hosts_are_left_alone_unless_they_are_wanted(self):
        with Site() as site, RawServer(reply(b'<a href="/x">x</a>', HTML)) as far:
            site.other = far.port
            tulp("crawl", site.url)
            self.assertEqual(far.requests, [])
            tulp("crawl", "--all-hosts", site.url)
            self.assertEqual([request.split(" ")[1] for request in far.requests], ["/far", "/x"])

    def test_a_slow_page_holds_up_nobody_and_is_called_broken(self):
        release = threading.Event()

        def answer(connection, request):
            path = request.split(b" ")[1].decode()
            if path == "/slow":
                release.wait(60)
            links = "".join(f'<a href="{link}">' for link in ["/slow", *(f"/{i}" for i in range(50))])
            connection.sendall(reply(links.encode(), HTML))
        with RawServer(answer) as server:
            crawled = tulp("crawl", "--timeout", 0.5, server.url)
            release.set()
            self.assertEqual(crawled.returncode, 1)
            self.assertRegex(crawled.stdout.decode(), r"\A52 pages")
            self.assertIn(f"  {server.url}/slow\n      timed out after", crawled.stdout.decode())

    def test_a_beginning_that_cannot_be_had_gives_fetchs_code(self):
        self.assertEqual(tulp("crawl", f"http://127.0.0.1:{free_port()}/").returncode, 7)
        self.assertEqual(tulp("crawl", "nonsense").returncode, 3)
        self.assertEqual(tulp("crawl").returncode, 2)

    def test_a_terminal_sees_how_far_it_is(self):
        def answer(connection, _):
            time.sleep(0.25)
            connection.sendall(reply(b"", HTML))
        with RawServer(answer) as server:
            self.assertIn("0 of 1 pages, 0 broken", on_terminal("crawl", server.url)[0])


if __name__ == "__main__":
    unittest.main()
