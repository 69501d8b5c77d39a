#!/usr/bin/env python3
"""Compile each public header alone: first in its file, and twice.

usage: check_headers.py INCLUDE_FOLDER -- COMPILER [FLAG...]
The headers are found when the test runs, so that no list of them can go stale.
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys


def compile_alone(include, name, compiler):
    source = f"#include <{name}>\n#include <{name}>\nint main() {{}}\n"
    if name.startswith("tulp/asio/"):   # for programs that have that library
        source = f"#if __has_include(<boost/asio.hpp>)\n{source}#endif\n"
    command = [*compiler, "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
               f"-I{include}", "-x", "c++", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True)


def main():
    split = sys.argv.index("--")
    include, compiler = pathlib.Path(sys.argv[1]), sys.argv[split + 1:]
    names = sorted(header.relative_to(include).as_posix() for header in include.rglob("*.hpp"))
    failed = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda name: compile_alone(include, name, compiler), names)
        for name, run in zip(names, runs):
            print("ok    " if run.returncode == 0 else "FAILED", name)
            if run.returncode != 0:
                failed.append(name)
                print(run.stderr)
    print(f"{len(names)} headers, {len(failed)} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
