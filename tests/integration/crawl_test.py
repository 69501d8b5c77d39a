"""tulp crawl visits each page of a site once, stays where it was told to, and says what is broken."""
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import unittest

from programs import RawServer, TULP, free_port, nginx, on_terminal, reply, temporary_folder, tulp

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


def path_of(request):
    return request.split(b" ")[1].decode()


def links(*references):
    return "".join(f'<a href="{reference}">x</a>' for reference in references).encode()


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
        path = path_of(request)
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
        return paths_of(self.server)


def paths_of(server):
    """Which pages were asked for, in order; the rules are asked for once, and first."""
    paths = [request.split(" ")[1] for request in server.requests]
    assert paths.count("/robots.txt") <= 1, paths
    return sorted(path for path in paths if path != "/robots.txt")


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
            self.assertEqual(paths_of(far), ["/far", "/x"])

    def test_a_slow_page_holds_up_nobody_and_is_called_broken(self):
        release = threading.Event()

        def answer(connection, request):
            if path_of(request) == "/slow":
                release.wait(60)
            connection.sendall(reply(links("/slow", *range(50)), HTML))
        with RawServer(answer) as server:
            crawled = tulp("crawl", "--timeout", 2, server.url)
            release.set()
            self.assertEqual(crawled.returncode, 1)
            self.assertRegex(crawled.stdout.decode(), r"\A52 pages")
            self.assertIn(f"  {server.url}/slow\n      timed out after", crawled.stdout.decode())

    def test_a_beginning_that_cannot_be_had_gives_fetchs_code(self):
        self.assertEqual(tulp("crawl", f"http://127.0.0.1:{free_port()}/").returncode, 7)
        self.assertEqual(tulp("crawl", "nonsense").returncode, 3)
        self.assertEqual(tulp("crawl").returncode, 2)

    def test_a_terminal_sees_how_far_it_is(self):
        def answer(connection, request):
            time.sleep(0.25)
            connection.sendall(reply(b"", HTML, status="404 No" if b"robots" in request else "200 OK"))
        with RawServer(answer) as server:
            self.assertIn("0 of 1 pages, 0 broken", on_terminal("crawl", server.url)[0])

    def test_a_site_without_end_is_left_at_the_depth_that_is_wanted(self):
        def answer(connection, request):
            path = path_of(request)
            connection.sendall(reply(links(path.rstrip("/") + "/x", "/", path), HTML))
        with RawServer(answer) as server:
            report = json.loads(tulp("crawl", "--json", server.url).stdout)
            self.assertEqual((len(report["pages"]), report["limits_reached"]), (21, ["--max-depth 20"]))
            report = json.loads(tulp("crawl", "--json", "--max-depth", 50, server.url).stdout)
            self.assertEqual((report["pages"][-1]["depth"], report["limits_reached"]), (50, ["--max-depth 50"]))

    def test_references_are_read_as_browsers_read_them(self):
        references = {" /a ": "/a", "/b\n/c": "/b/c", "/d e": "/d%20e", "\t": "/", "javascript:f(1, 2)": None,
                      "data:text/plain,a b": None, "mailto: x": None, "#f": "/", "?q=ü": "/?q=%C3%BC"}
        page = "".join(f"<A HREF='{reference}'>" for reference in references).encode()

        def answer(connection, request):
            kind = "CONTENT-TYPE: TEXT/HTML; Charset=UTF-8" if path_of(request) == "/" else "Content-Type: text/plain"
            connection.sendall(reply(page, kind))
        with RawServer(answer) as server:
            crawled = tulp("crawl", server.url)
            self.assertEqual((crawled.returncode, paths_of(server)), (0, sorted({path or "/" for path in references.values()})))

    def test_a_page_of_nothing_but_broken_references_costs_bounded_memory(self):
        page = b"".join(b'<a href="http://[%d">' % i for i in range(10_000)) + links("x" * 1_000_000)

        def answer(connection, request):
            path = path_of(request)
            connection.sendall(reply(page, HTML) if path == "/" else reply(b"", status="404 No"))
        with RawServer(answer) as server:
            report = json.loads(tulp("crawl", "--json", server.url).stdout)
            self.assertEqual((len(report["pages"]), report["limits_reached"]), (1000, ["--max-pages 1000"]))

    def test_connections_are_used_again_and_none_too_many(self):
        with temporary_folder() as folder:
            folder.chmod(0o755)
            for i in range(300):
                (folder / f"{i}.html").write_bytes(links(f"{i + 1}.html", f"{i * 2}.html", f"{i * 2 + 1}.html"))
            with nginx(folder) as port:
                strace = ["strace", "-f", "-e", "trace=connect", "-o", folder / "calls"] if shutil.which("strace") else []
                crawled = subprocess.run([*strace, TULP, "crawl", f"http://127.0.0.1:{port}/1.html"], capture_output=True,
                                         timeout=60, check=False)
                self.assertRegex(crawled.stdout, rb"\A599 pages")   # those that are missing too
                if strace and (folder / "calls").exists():
                    connects = len(re.findall(f"connect.*htons\\({port}\\)", (folder / "calls").read_text()))
                    self.assertTrue(1 <= connects <= 10, connects)


class Rules(unittest.TestCase):
    def crawl(self, robots, *args, status="200 OK", raw=None, paths=()):
        """Which of `paths` were visited, and what was said."""
        def answer(connection, request):
            path = path_of(request)
            if path == "/robots.txt":
                connection.sendall(raw or reply(robots, status=status))
            else:
                connection.sendall(reply(links(*paths), HTML))
        with RawServer(answer) as server:
            crawled = tulp("crawl", *args, server.url)
            return set(paths_of(server)) - {"/"}, crawled

    def test_what_robots_txt_forbids_is_not_visited_and_counted(self):
        robots = b"User-agent: *\nDisallow: /private\n"
        visited, crawled = self.crawl(robots, paths=["/private", "/private/x", "/open", "/private"])
        self.assertEqual((visited, crawled.returncode), ({"/open"}, 0))
        self.assertIn(b"\n2 links were not visited: robots.txt forbids it.\n", crawled.stdout)
        visited, crawled = self.crawl(robots, "--json", paths=["/private"])
        self.assertRegex(json.loads(crawled.stdout)["forbidden_by_robots"][0], "/private$")
        visited, crawled = self.crawl(robots, "--ignore-robots", paths=["/private"])
        self.assertEqual((visited, crawled.returncode), ({"/private"}, 0))

    def test_the_rules_are_read_as_rfc_9309_has_them(self):
        allowed, forbidden = True, False
        for robots, path, expected in (
                ("User-agent: *\nDisallow: /", "/x", forbidden),
                ("user-AGENT: *\r\ndisallow: /x\r\n", "/x", forbidden),
                ("User-agent: *\rDisallow: /x\r", "/x", forbidden),
                ("\ufeffUser-agent : * # all\n\n Disallow :/x # this", "/x", forbidden),
                ("User-agent: *\nDisallow:", "/x", allowed),
                ("User-agent: *\nDisallow: /X", "/x", allowed),
                ("User-agent: other\nDisallow: /", "/x", allowed),
                ("User-agent: tulp\nDisallow: /x", "/x", forbidden),
                ("User-agent: TULP/1.0\nDisallow: /x", "/x", forbidden),
                ("User-agent: tulpen\nDisallow: /x", "/x", allowed),
                ("User-agent: *\nDisallow: /\n\nUser-agent: tulp\nAllow: /", "/x", allowed),
                ("User-agent: *\nDisallow: /\n\nUser-agent: tulp\nDisallow:", "/x", allowed),
                ("User-agent: a\nUser-agent: tulp\nUser-agent: b\nDisallow: /x", "/x", forbidden),
                ("User-agent: tulp\nDisallow: /y\nUser-agent: b\nDisallow: /\nUser-agent: tulp\nDisallow: /x", "/x", forbidden),
                ("User-agent: tulp\nDisallow: /y\nUser-agent: b\nDisallow: /x", "/x", allowed),
                ("User-agent: *\nSitemap: /s\nDisallow: /x", "/x", forbidden),
                ("Disallow: /x\nUser-agent: *\nDisallow: /y", "/x", allowed),
                ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", allowed),
                ("User-agent: *\nAllow: /a\nDisallow: /a/b", "/a/b/c", forbidden),
                ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", allowed),
                ("User-agent: *\nDisallow: /*.gif$", "/a.gif", forbidden),
                ("User-agent: *\nDisallow: /*.gif$", "/a.gif?x", allowed),
                ("User-agent: *\nDisallow: /*.gif$", "/a.gif.gif", forbidden),
                ("User-agent: *\nDisallow: /*.gif", "/a.gift", forbidden),
                ("User-agent: *\nDisallow: /a*b*c$", "/axbxc", forbidden),
                ("User-agent: *\nDisallow: /a*b*c$", "/axbx", allowed),
                ("User-agent: *\nDisallow: /a$", "/a", forbidden),
                ("User-agent: *\nDisallow: /a$", "/ab", allowed),
                ("User-agent: *\nDisallow: *x", "/ax", forbidden),
                ("User-agent: *\nDisallow: /?q=", "/?q=1", forbidden),
                ("User-agent: *\nDisallow: /%61", "/a", forbidden),
                ("User-agent: *\nDisallow: /a", "/%61", forbidden),
                ("User-agent: *\nDisallow: /a%2fb", "/a%2Fb", forbidden),
                ("User-agent: *\nDisallow: /a%2Fb", "/a/b", allowed),
                ("User-agent: *\nDisallow: /ü", "/%c3%bc", forbidden),
                ("User-agent: *\nDisallow: /%c3%bc", "/ü", forbidden),
                ("<html>no robots here: at all</html>", "/x", allowed),
                ("", "/x", allowed)):
            with self.subTest(robots, path=path):
                robots = (robots + "\nAllow: /$\n").encode()
                self.assertEqual(bool(self.crawl(robots, paths=[path])[0]), expected)

    def test_a_site_that_has_no_rules_allows_everything(self):
        for status in "404 Not Found", "403 Forbidden", "301 Moved":
            self.assertEqual(self.crawl(b"User-agent: *\nDisallow: /", status=status, paths=["/x"])[0], {"/x"})

    def test_a_site_that_cannot_say_its_rules_is_not_visited(self):
        for answer, words in ((reply(b"", status="503 Later"), b"robots.txt: the server answered 503; --ignore-robots goes on"),
                              (b"garbage\r\n\r\n", b"robots.txt: weird reply")):
            visited, crawled = self.crawl(b"", raw=answer, paths=["/x"])
            self.assertEqual(visited, set())
            self.assertIn(words, crawled.stdout)
            self.assertNotEqual(crawled.returncode, 0)
            self.assertEqual(self.crawl(b"", "--ignore-robots", raw=answer, paths=["/x"])[0], {"/x"})

    def test_a_beginning_that_is_forbidden_is_an_error_that_says_the_way_out(self):
        visited, crawled = self.crawl(b"User-agent: *\nDisallow: /", paths=["/x"])
        self.assertEqual((visited, crawled.returncode), (set(), 1))
        self.assertIn(b"robots.txt forbids it; --ignore-robots visits it", crawled.stdout)

    def test_of_rules_without_end_the_first_500_kib_count(self):
        rules = b"User-agent: *\nDisallow: /x\n"
        self.assertEqual(self.crawl(rules + b"#" * 2_000_000 + b"\nDisallow: /y\n", paths=["/x", "/y"])[0], {"/y"})


PUBLIC = "203.0.113.1"   # an address for examples, which in a network of our own is this machine's


def in_own_network(script, *args):
    """What `script` prints where PUBLIC is an address of this machine; nothing where such a network cannot be had."""
    commands = f'ip link set lo up && ip addr add {PUBLIC}/32 dev lo && exec "$@"'
    return subprocess.run(["unshare", "--user", "--map-root-user", "--net", "sh", "-c", commands, "sh", sys.executable, "-c",
                           script, *args], capture_output=True, timeout=60, check=False)


PRIVATE_SITES = """
import json, sys
from programs import RawServer, reply, tulp
HTML = "Content-Type: text/html"

def crawl(begin, leads_to, *args):
    with RawServer(reply(b"secret")) as inside:
        links = b"".join(b'<a href="http://%s:%d/in">' % (host.encode(), inside.port) for host in leads_to)
        page = reply(links + b'<a href="/more">', HTML)
        moved = reply(b"", f"Location: http://{leads_to[0]}:{inside.port}/in", status="302 Found")
        for answer in page, moved:
            def serve(connection, request):
                connection.sendall(reply(b"", status="404 No") if b"robots" in request else answer)
            with RawServer(serve, host="0.0.0.0") as outside:
                report = json.loads(tulp("crawl", "--all-hosts", "--json", *args, f"http://{begin}:{outside.port}/").stdout)
                assert sum("robots" in request for request in outside.requests) == 1, outside.requests
                yield [page.get("error", "") for page in report["pages"] if page["url"].endswith("/in")], inside.requests[:]
                inside.requests.clear()

results = []
for begin, args in (PUBLIC, []), (PUBLIC, ["--private"]), ("127.0.0.1", []):
    results += crawl(begin, ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"], *args)
print(json.dumps(results))
"""


class PrivateAddresses(unittest.TestCase):
    def test_a_public_page_leads_to_them_only_if_that_is_wanted(self):
        ran = in_own_network(f"PUBLIC = {PUBLIC!r}\n" + f"import sys; sys.path.insert(0, {sys.path[0]!r})\n" + PRIVATE_SITES)
        if ran.returncode != 0 and re.search(rb"unshare|not permitted|ip: ", ran.stderr):
            self.skipTest(ran.stderr.decode())
        self.assertEqual(ran.returncode, 0, ran.stderr.decode())
        by_links, by_redirect, *allowed = json.loads(ran.stdout)
        self.assertEqual((len(by_links[0]), len(by_redirect[0])), (3, 1))
        for error in by_links[0] + by_redirect[0]:
            self.assertRegex(error, "has the address (::ffff:)?127.0.0.1, which is not public|no address")
        self.assertEqual((by_links[1], by_redirect[1]), ([], []))
        for errors, requests in allowed:
            self.assertNotEqual(requests, [])
            self.assertEqual(errors[0], "")


if __name__ == "__main__":
    unittest.main()
