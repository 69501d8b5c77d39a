"""Where redirects lead: the examples of RFC 3986 section 5.4, seen by the server that is asked."""
import socket
import unittest

from programs import RawServer, reply, tulp

BASE = "/b/c/d;p?q"
REFERENCES = {   # RFC 3986 sections 5.4.1 and 5.4.2, but those that lead to other hosts
    "g": "/b/c/g", "./g": "/b/c/g", "g/": "/b/c/g/", "/g": "/g", "?y": "/b/c/d;p?y", "g?y": "/b/c/g?y", "#s": BASE,
    "g#s": "/b/c/g", "g?y#s": "/b/c/g?y", ";x": "/b/c/;x", "g;x": "/b/c/g;x", "g;x?y#s": "/b/c/g;x?y", "": BASE,
    ".": "/b/c/", "./": "/b/c/", "..": "/b/", "../": "/b/", "../g": "/b/g", "../..": "/", "../../": "/",
    "../../g": "/g",
    "../../../g": "/g", "../../../../g": "/g", "/./g": "/g", "/../g": "/g", "g.": "/b/c/g.", ".g": "/b/c/.g",
    "g..": "/b/c/g..", "..g": "/b/c/..g", "./../g": "/b/g", "./g/.": "/b/c/g/", "g/./h": "/b/c/g/h", "g/../h": "/b/c/h",
    "g;x=1/./y": "/b/c/g;x=1/y", "g;x=1/../y": "/b/c/y", "g?y/./x": "/b/c/g?y/./x", "g?y/../x": "/b/c/g?y/../x",
    "g#s/./x": "/b/c/g", "g#s/../x": "/b/c/g",
    # What the RFC leaves out.
    "g//h": "/b/c/g//h", "/g?": "/g?", "g%2e%2E/%61": "/b/c/g%2e%2E/%61", "a b": "/b/c/a%20b", "/ü": "/%C3%BC",
}
TARGETS = {   # what follows the port in a URL, and what the server is asked for
    "": "/", "/": "/", "?x": "/?x", "#x": "/", "/a/../b/./c": "/b/c", "/a?b=c&d#e": "/a?b=c&d", "/%41%7e": "/%41%7e",
    "/ü?ö": "/%C3%BC?%C3%B6", "/a//b/": "/a//b/", "/a:b@c": "/a:b@c",
}


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


class Urls(unittest.TestCase):
    def test_redirects_lead_where_the_rfc_says(self):
        for reference, target in REFERENCES.items():
            def answer(connection, _, reference=reference):
                first = len(server.requests) == 1
                location = "Location: " + reference.encode().decode("latin-1")
                connection.sendall(reply(b"", location, status="302 Found") if first else reply(b"there"))
            with self.subTest(reference), RawServer(answer) as server:
                self.assertEqual(tulp("fetch", server.url + BASE).stdout, b"there")
                self.assertEqual(server.requests, [f"GET {BASE} HTTP/1.1", f"GET {target} HTTP/1.1"])

    def test_redirects_to_another_host_and_by_another_name(self):
        with RawServer(reply(b"there")) as there:
            for location in f"{there.url}/x", f"//127.0.0.1:{there.port}/x", f"HTTP://localhost:{there.port}/x":
                with self.subTest(location):
                    with RawServer(reply(b"", f"LOCATION: {location}", status="307 Temporary")) as here:
                        self.assertEqual(tulp("fetch", here.url).stdout, b"there")
            self.assertEqual(there.requests, ["GET /x HTTP/1.1"] * 3)

    def test_only_redirects_with_a_location_are_followed(self):
        for status in "300 Choices", "304 Not Modified", "200 OK", "201 Created":
            with self.subTest(status), RawServer(reply(b"", "Location: http://:0/", status=status)) as server:
                self.assertEqual(tulp("fetch", server.url).returncode, 0)
        with RawServer(reply(b"page", status="302 Found")) as server:
            self.assertEqual(tulp("fetch", server.url).stdout, b"page")

    def test_what_the_server_is_asked_for(self):
        for suffix, target in TARGETS.items():
            with self.subTest(suffix), RawServer(reply(b"page")) as server:
                self.assertEqual(tulp("fetch", server.url + suffix).stdout, b"page")
                self.assertEqual(server.requests, [f"GET {target} HTTP/1.1"])

    def test_the_host_field_names_host_and_port(self):
        def answer(connection, request):
            fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:-2])
            connection.sendall(reply(fields[b"Host"]))
        with RawServer(answer) as server:
            for host in "127.0.0.1", "localhost", "LocalHost":
                fetched = tulp("fetch", f"http://{host}:0{server.port}/")
                self.assertEqual(fetched.stdout, f"{host}:{server.port}".encode())
        if not has_ipv6():
            self.skipTest("there is no IPv6 here")
        with RawServer(answer, "::1") as server:
            self.assertEqual(tulp("fetch", f"http://[::1]:{server.port}/").stdout, f"[::1]:{server.port}".encode())


if __name__ == "__main__":
    unittest.main()
