#!/usr/bin/env python3
"""Plays every scenario on this Python's asyncio and on a loop of tulp's, and reports where the traces differ.

usage: compare.py PROGRAM epoll|poll|select|foreign|uv|asio|glib [SCENARIO...]

A scenario is two functions of one name, in a theme's .py and .cpp; scenario.py says how it is written.
"""
import asyncio
import difflib
import faulthandler
import importlib
import logging
import pathlib
import signal
import subprocess
import sys

import scenario

SECONDS = 60   # for one side
LINES = 30     # of a trace before and after the first difference


def themes():
    """The Python files of this folder that hold scenarios."""
    ours = (pathlib.Path(__file__).stem, scenario.__name__)
    return sorted(path.stem for path in pathlib.Path(__file__).parent.glob("*.py") if path.stem not in ours)


def play(body):
    """The trace of a scenario on this Python's asyncio."""
    lines = []

    def trace(*words):
        lines.append(" ".join(str(word) for word in words))

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(lambda _, context: trace("reported", scenario.name_of(context.get("exception"))))
    try:
        body(loop, trace)
    except Exception as error:
        trace("escaped", scenario.name_of(error))
    if left := len(asyncio.all_tasks(loop)):
        trace("tasks left:", left)
    loop.close()
    asyncio.set_event_loop(None)
    return lines


def play_in_tulp(program, loop, names):
    """The traces of the C++ side, by name; if it crashed or hung, those that there are, and its stderr."""
    try:
        done = subprocess.run([program, loop, *names], capture_output=True, timeout=SECONDS, check=False)
        output, errors = done.stdout, done.stderr
        end = f"(the program ended with {done.returncode})" if done.returncode != 0 else ""
    except subprocess.TimeoutExpired as timeout:
        output, errors = timeout.stdout or b"", timeout.stderr or b""
        end = f"(nothing more in {SECONDS} s)"
    traces, lines = {}, []
    for line in (output.decode() + end).splitlines():
        if line.startswith("["):
            lines = traces[line.strip("[]")] = []
        else:
            lines.append(line)
    return traces, errors.decode() if end else ""


def difference(title, left, right, left_name, right_name):
    """A complaint, or none."""
    if left == right:
        return []
    same = next((i for i, pair in enumerate(zip(left, right)) if pair[0] != pair[1]), min(len(left), len(right)))
    part = slice(max(0, same - LINES), same + LINES)   # what comes long after a difference is another story
    diff = difflib.unified_diff(left[part], right[part], left_name, right_name, n=LINES, lineterm="")
    return ["\n".join([title, *diff])]


def judge(name, one, trace, loop):
    """What is to be said against `trace`."""
    complaints = []
    expected = play(one.body)
    if one.python_3_13 is not None:
        if sys.version_info >= (3, 13):
            complaints += difference(f"{name}, as written for 3.13", one.python_3_13, expected, "written", "asyncio")
        expected = one.python_3_13
    if one.tulp is None or loop in one.but_not_on:
        return complaints + difference(name, expected, trace, "asyncio", "tulp")
    if one.tulp == expected:
        return complaints + [f"{name}: tulp is said to differ, and asyncio does the same"]
    return complaints + difference(f"{name}, where tulp differs: {one.because}", one.tulp, trace, "decided", "tulp")


def main(program, loop, *names):
    signal.signal(signal.SIGINT, signal.default_int_handler)   # even if a shell has left it ignored
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    logging.getLogger("asyncio").propagate = False
    for theme in themes():
        importlib.import_module(theme)
    wanted = {name: one for name, one in scenario.SCENARIOS.items() if not names or name in names}

    traces, errors = play_in_tulp(program, loop, names)
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    missing = ", ".join(sorted(wanted.keys() - traces.keys()))
    complaints = [f"not played by the C++ side: {missing}"] if missing else []
    complaints += [f"{name}: there is none in Python" for name in sorted(traces.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & traces.keys()):
        differences = judge(name, wanted[name], traces[name], loop)
        # A machine that stands still where a limit of a millisecond begins changes either trace, but not twice.
        if differences and name in (again := play_in_tulp(program, loop, [name])[0]):
            print(f"{name} is played again:", *differences, sep="\n\n")
            differences = judge(name, wanted[name], again[name], loop)
        complaints += differences

    print(*complaints, errors, sep="\n\n")
    deviations = sum(one.tulp is not None for one in wanted.values())
    print(f"{len(wanted)} scenarios, in {deviations} of which tulp differs by decision; {len(complaints)} complaints")
    return 1 if complaints or not wanted else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.version_info < (3, 11):
        print("skipped: asyncio.timeout() and Task.uncancel() came with Python 3.11")
        sys.exit(77)
    sys.exit(main(*sys.argv[1:]))
