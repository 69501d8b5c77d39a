#!/usr/bin/env python3
"""Read the includes of include/tulp and src, and report every one that breaks the layering.

usage: check_floors.py [ROOT]         check the tree at ROOT (default: the one this script lives in)
       check_floors.py --self-test    check this script on made-up trees

A file includes only its own floor (never in a ring) and lower ones. A public header names its floor in its first line;
a source has the floor of its folder. Public headers include neither Boost nor OpenSSL nor anything private, but for
those in include/tulp/asio; below src, only fiber includes Boost, only ssl includes OpenSSL, and only hosts includes
Boost.Asio, libuv and GLib.
"""
import pathlib
import posixpath
import re
import sys
import tempfile

FLOORS = {  # folders of src; docs/design.md says what each is for
    "base": 1, "fiber": 2, "selector": 2, "events": 3, "futures": 4, "tasks": 5, "coroutines": 6, "sync": 6,
    "executor": 6, "net": 6, "transports": 6, "ssl": 6, "process": 6, "loop": 7, "hosts": 8, "streams": 8, "posix": 8,
    "testing": 9,
}
# Upward on purpose, at the end of the lower header, so that users of an EventLoop need one include.
ALLOWED = {("include/tulp/event_loop.hpp", "include/tulp/future.hpp")}
OWNERS = {  # the only folders that may include these libraries; the longest name counts
    "boost": "src/fiber", "boost/asio": "src/hosts", "openssl": "src/ssl", "uv.h": "src/hosts", "glib.h": "src/hosts",
}
GUESTS = "include/tulp/asio/"  # headers for programs that use such a library themselves

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")', re.MULTILINE)
FLOOR = re.compile(r"\bFloor (\d)\b")


def is_public(path):
    return path.startswith("include/")


def floor_of(path, text):
    """The floor of a file, or None if nothing tells it."""
    if is_public(path):
        stated = FLOOR.search(text.partition("\n")[0])
        return int(stated[1]) if stated else None
    return FLOORS.get(path.split("/")[1])


def resolve(path, target, files):
    """The file of ours that `#include target` in `path` means, or None if it is not one of ours."""
    places = (path.rpartition("/")[0], "src", "include")
    return next((name for place in places if (name := posixpath.normpath(f"{place}/{target}")) in files), None)


def rings(edges):
    """Each ring of includes that a walk along `edges` comes upon, as a list of files that ends where it began."""
    found, finished, trail = [], set(), []

    def walk(path):
        if path in trail:
            found.append(trail[trail.index(path):] + [path])
        elif path not in finished:
            trail.append(path)
            for target in edges[path]:
                walk(target)
            finished.add(trail.pop())

    for path in edges:
        walk(path)
    return found


def check(root):
    """All complaints about the tree at `root`, one line each."""
    paths = sorted(path for folder in ("include/tulp", "src") for path in (root / folder).rglob("*.[ch]pp"))
    files = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    floors = {path: floor_of(path, text) for path, text in files.items()}
    edges = {path: [] for path in files}
    complaints = []
    for path, text in files.items():
        if floors[path] is None:
            complaints.append(f"{path}: " + ("its first line names no floor ('... Floor 4.')" if is_public(path)
                                             else "its folder is on no floor"))
        for include in INCLUDE.finditer(text):
            target = include[1] or include[2]
            where = f"{path}:{text.count(chr(10), 0, include.start(include.lastindex)) + 1}"
            parts = target.split("/")
            owner = OWNERS.get("/".join(parts[:2]), OWNERS.get(parts[0]))
            if owner and not path.startswith((owner + "/", GUESTS)):
                complaints.append(f"{where}: only {owner} may include <{target}>")
            found = resolve(path, target, files)
            if found is None or (path, found) in ALLOWED:
                continue
            edges[path].append(found)
            if is_public(path) and not is_public(found):
                complaints.append(f"{where}: a public header includes the private {found}")
            if None not in (floors[path], floors[found]) and floors[found] > floors[path]:
                complaints.append(f"{where}: floor {floors[path]} includes {found} of floor {floors[found]}")
    return complaints + ["a ring: " + " -> ".join(ring) for ring in rings(edges)]


def self_test():
    """Made-up trees, each with a piece of each complaint that it must draw; returns what went wrong."""
    low, high = "// Low. Floor 1, base.\n", "// High. Floor 5, tasks.\n"
    trees = {
        "downward and sideways is fine": ({
            "include/tulp/low.hpp": low, "include/tulp/high.hpp": high + "#include <tulp/low.hpp>\n#include <vector>\n",
            "src/tasks/high.cpp": '#include "tasks/park.hpp"\n#include <tulp/high.hpp>\n', "src/tasks/park.hpp": "",
            "src/loop/loop.cpp": '#include "selector/epoll.hpp"\n', "src/selector/epoll.hpp": '#include "own.hpp"\n',
            "src/selector/own.hpp": '#include "fiber/stack.hpp"\n', "src/fiber/stack.hpp": ""}, []),
        "upward": ({"include/tulp/low.hpp": low + "\n#include <tulp/high.hpp>\n", "include/tulp/high.hpp": high},
                   ["include/tulp/low.hpp:3: floor 1 includes include/tulp/high.hpp of floor 5"]),
        "upward, by a path and by a relative path": (
            {"src/base/a.cpp": '#include "../loop/b.hpp"\n#  include "loop/b.hpp"\n', "src/loop/b.hpp": ""},
            ["src/base/a.cpp:1: floor 1 includes src/loop/b.hpp of floor 7",
             "src/base/a.cpp:2: floor 1 includes src/loop/b.hpp of floor 7"]),
        "a ring on one floor": ({"src/net/a.hpp": '#include "net/b.hpp"', "src/net/b.hpp": '#include "net/c.hpp"',
                                 "src/net/c.hpp": '#include "net/a.hpp"'},
                                ["a ring: src/net/a.hpp -> src/net/b.hpp -> src/net/c.hpp -> src/net/a.hpp"]),
        "including oneself": ({"src/net/a.hpp": '#include "a.hpp"'}, ["a ring: src/net/a.hpp -> src/net/a.hpp"]),
        "the one allowed upward include": ({
            "include/tulp/event_loop.hpp": "// Floor 3.\n#include <tulp/future.hpp>",
            "include/tulp/future.hpp": "// Floor 4.\n#include <tulp/event_loop.hpp>"}, []),
        "no floor stated": ({"include/tulp/a.hpp": "#pragma once\n// Floor 1.\n"}, ["include/tulp/a.hpp: its first"]),
        "an unknown folder": ({"src/attic/a.cpp": ""}, ["src/attic/a.cpp: its folder is on no floor"]),
        "private in public": ({"include/tulp/a.hpp": high + '#include "base/sys.hpp"', "src/base/sys.hpp": ""},
                              ["include/tulp/a.hpp:2: a public header includes the private src/base/sys.hpp"]),
        "Boost and OpenSSL at home": ({"src/fiber/a.cpp": "#include <boost/context/detail/fcontext.hpp>",
                                       "src/ssl/a.cpp": "#include <openssl/ssl.h>",
                                       "src/hosts/a.cpp": "#include <boost/asio/post.hpp>\n#include <uv.h>"}, []),
        "a guest's header": ({"include/tulp/asio/a.hpp": low + "#include <boost/asio/post.hpp>"}, []),
        "Boost and OpenSSL elsewhere": ({
            "include/tulp/a.hpp": low + "#include <boost/context/fiber.hpp>",
            "src/fiber/c.cpp": "#include <boost/asio/post.hpp>",
            "src/hosts/d.cpp": "#include <boost/context/fiber.hpp>",
            "src/loop/a.cpp": "#include <openssl/ssl.h>",
            "src/ssl/b.cpp": "#include <boost/context/fiber.hpp>"},
            ["include/tulp/a.hpp:2: only src/fiber", "src/fiber/c.cpp:1: only src/hosts", "src/hosts/d.cpp:1: only src/fiber",
             "src/loop/a.cpp:1: only src/ssl",
             "src/ssl/b.cpp:1: only src/fiber"]),
    }
    wrong = []
    for name, (tree, expected) in trees.items():
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in tree.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            got = check(root)
        if len(got) != len(expected) or not all(line.startswith(start) for line, start in zip(got, expected)):
            wrong.append(f"{name}: expected {expected}, got {got}")
    return wrong


def main():
    if sys.argv[1:] == ["--self-test"]:
        complaints, praise = self_test(), "the check draws every complaint that it should, and no other"
    else:
        praise = "every include keeps to its floor"
        complaints = check(pathlib.Path(sys.argv[1]) if sys.argv[1:] else pathlib.Path(__file__).resolve().parents[1])
    print("\n".join(complaints) or praise)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
