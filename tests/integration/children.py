"""What children_test.py and children_long_test.py do: many children, much through one, and starts from a large parent."""
import asyncio
import os
import shutil
import subprocess
import sys
import time

from programs import CHILDREN, TULP


def figures_of(*args):
    """What the program `children` prints, by name."""
    output = subprocess.run([CHILDREN, *map(str, args)], capture_output=True, timeout=1500, check=True).stdout.decode()
    return {name: float(value) for name, value in map(str.split, output.splitlines())}


async def start_with_asyncio(count, jobs):
    """How many exit codes were wrong."""
    numbers, wrong = iter(range(count)), 0

    async def work():
        nonlocal wrong
        for number in numbers:
            process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number % 256}")
            wrong += await process.wait() != number % 256

    await asyncio.gather(*(work() for _ in range(jobs)))
    return wrong


def seconds_of(function, *args, **options):
    begin = time.monotonic()
    function(*args, **options)
    return time.monotonic() - begin


def start_many(count, jobs):
    """Starts short children with each of these, and shows how long each takes; tulp's have to be right in everything."""
    ours = figures_of("short", count, jobs)
    assert ours["wrong"] == ours["zombies"] == ours["leaked"] == 0, ours
    commands = "".join(f"exit {number % 2}\n" for number in range(count)).encode()
    times = {"tulp": ours["seconds"]}
    times["asyncio"] = seconds_of(lambda: asyncio.run(start_with_asyncio(count, jobs)))
    # `tulp run` keeps what each writes, which xargs does not.
    times["tulp run"] = seconds_of(subprocess.run, [TULP, "run", "-q", "-j", str(jobs)], input=commands, check=False)
    if xargs := shutil.which("xargs"):
        times["xargs -P"] = seconds_of(subprocess.run, [xargs, "-P", str(jobs), "-d", "\n", "-n", "1", "sh", "-c"],
                                       input=commands, stderr=subprocess.DEVNULL, check=False)
    print(f"{count} children, {jobs} at a time:", ", ".join(f"{who} {t:.2f} s" for who, t in times.items()),
          file=sys.stderr)


def pass_through(size, most_resident_kib):
    figures = figures_of("cat", size)
    print(f"{size} bytes through cat: {figures['seconds']:.2f} s, {figures['resident_kib']:.0f} KiB resident",
          file=sys.stderr)
    assert (figures["received"], figures["wrong"], figures["code"]) == (size, 0, 0), figures
    assert figures["resident_kib"] <= most_resident_kib, figures


def start_from_large_parent(size):
    """A large parent takes no longer than a small one, within what a busy machine does to such times."""
    for _ in range(5):
        small, large = figures_of("start", 200, 1 << 20), figures_of("start", 200, size)
        for name, figures in ("small", small), (f"{size >> 20} MiB", large):
            print(f"{name} parent: a start takes {figures['start_us']:.0f} us, fork() alone {figures['fork_us']:.0f} us",
                  file=sys.stderr)
        if large["start_us"] < 2 * small["start_us"] + 200:
            return
    raise AssertionError((small, large))


def available_bytes():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
