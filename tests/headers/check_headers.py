#!/usr/bin/env python3
"""Compile each public header alone: first in its file, and twice.  One that another begins with comes first with that one.

usage: check_headers.py INCLUDE_FOLDER -- COMPILER [FLAG...]
The headers are found when the test runs, so that no list of them can go stale.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys


NEEDS_ASIO = "tulp/asio/"   # for programs that have that library


def first_include(header):
    found = re.search(r"^#include <(.*)>", header.read_text(), re.M)
    return found and found[1]


def begins_with(headers):
    """For each header that no other begins with: the one that it begins with, and so on."""
    first = {name: first_include(header) for name, header in headers.items()}
    covered = {begin for name, begin in first.items() if not name.startswith(NEEDS_ASIO)}
    chains = {}
    for name in headers.keys() - covered:
        chains[name] = [name]
        while (begin := first[chains[name][-1]]) in headers:
            chains[name].append(begin)
    return chains


def compile_alone(include, name, chain, compiler):
    source = f"#include <{name}>\n" + "".join(f"#include <{again}>\n" for again in chain) + "int main() {}\n"
    if name.startswith(NEEDS_ASIO):
        source = f"#if __has_include(<boost/asio.hpp>)\n{source}#endif\n"
    command = [*compiler, "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
               f"-I{include}", "-x", "c++", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True)


def main():
    split = sys.argv.index("--")
    include, compiler = pathlib.Path(sys.argv[1]), sys.argv[split + 1:]
    headers = {header.relative_to(include).as_posix(): header for header in include.rglob("*.hpp")}
    chains = dict(sorted(begins_with(headers).items()))
    failed = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda name: compile_alone(include, name, chains[name], compiler), chains)
        for chain, run in zip(chains.values(), runs):
            print("ok    " if run.returncode == 0 else "FAILED", *chain)
            if run.returncode != 0:
                failed.append(chain[0])
                print(run.stderr)
    print(f"{len(headers)} headers in {len(chains)} files, {len(failed)} failed")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
