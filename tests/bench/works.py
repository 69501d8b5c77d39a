"""The works of the report: what is done, by whom, and what is measured of it."""
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing

import footprint
from machine import Failed, measure_under_load, on_core, serving
from rounds import in_turns

HERE = pathlib.Path(__file__).resolve().parent
CPU, MESSAGE_NS = "server_cpu_ns_per_message", "ns of the server's CPU time"


@dataclasses.dataclass
class Work:
    """`run(plan)` gives {who: [a run's measures, in rounds]}, the reference first."""
    name: str
    title: str
    how: str
    run: typing.Callable
    charts: list   # of measure, unit
    is_quick: bool = False


@dataclasses.dataclass
class Plan:
    build: pathlib.Path   # tests/bench in the release folder
    cores: tuple
    rounds: int
    seconds: float
    is_quick: bool
    folder: str           # for what a run needs
    certificate: list
    failures: list = dataclasses.field(default_factory=list)   # of who, and why

    def program(self, name):
        return str(self.build / name)

    def has(self, command):
        """Whether the program of a command was built, or is installed."""
        return shutil.which(command[0]) is not None


def python():
    """The one of Debian, which has its packages."""
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def has_uvloop():
    return subprocess.run([python(), "-c", "import uvloop"], stderr=subprocess.DEVNULL).returncode == 0


def asyncio_servers(kinds):
    peer = [python(), str(HERE / "peer_asyncio_echo.py")]
    loops = {"asyncio": peer} | ({"uvloop": [*peer, "--uvloop"]} if has_uvloop() else {})
    return {f"{loop} {kind}": [*command, kind] for loop, command in loops.items() for kind in kinds}


def present(plan, servers):
    return {name: command for name, command in servers.items() if plan.has(command)}


def tulp_servers(plan, buffer_bytes=16384):
    into = [plan.program("tulp_echo_stream"), "--into", str(buffer_bytes)]
    return {"tulp streams": [plan.program("tulp_echo_stream")], "tulp streams, read_into": into,
            "tulp protocol": [plan.program("tulp_echo_protocol")],
            "tulp streams, read_into, io_uring": ["env", "TULP_SELECTOR=io_uring", *into]}


def echo_servers(plan, **options):
    peers = {"Boost.Asio callbacks": "peer_asio_echo", "Boost.Asio spawn": "peer_asio_spawn_echo", "io_uring by hand": "peer_uring_echo",
             "libuv": "peer_libuv_echo", "libevent": "peer_libevent_echo", "Go": "peer_go_echo"}
    servers = {"epoll by hand": [plan.program("peer_epoll_echo")], **tulp_servers(plan, **options)}
    servers |= {name: [plan.program(program)] for name, program in peers.items()}
    return present(plan, servers | asyncio_servers(["streams", "protocol"]))


def streaming_servers(plan):
    by_hand = plan.program("peer_epoll_echo")
    servers = {"epoll, 64 KiB reads": [by_hand, "--buffer", "65536"], "epoll, 256 KiB reads": [by_hand]}
    echo = echo_servers(plan, buffer_bytes=256 * 1024)
    return servers | {name: command for name, command in echo.items() if name != "epoll by hand"}


def record_servers(plan):
    return present(plan, {"epoll by hand": [plan.program("peer_epoll_records")], "tulp readexactly, write": [plan.program("tulp_records")],
                          "Go bufio": [plan.program("peer_go_echo"), "records"]} | asyncio_servers(["records"]))


def datagram_servers(plan):
    own = plan.program("tulp_datagrams")
    return present(plan, {"epoll by hand": [plan.program("peer_epoll_datagrams")], "tulp in a fiber": [own],
                          "tulp protocol": [own, "--protocol"], "Go": [plan.program("peer_go_echo"), "datagrams"]}
                   | asyncio_servers(["datagrams"]))


def unix_servers(plan):
    return {name: command for name, command in echo_servers(plan).items()
            if name in ("epoll by hand", "tulp streams", "tulp streams, read_into", "Go") or "asyncio" in name or "uvloop" in name}


def tls_servers(plan):
    own = tulp_servers(plan)
    return {"epoll and OpenSSL by hand": [plan.program("peer_epoll_tls_echo")],
            **{name: own[name] for name in ("tulp streams", "tulp streams, read_into")}}


def under_load(servers, *options, load="load", path=False, tls=False):
    """Every server in its turn, with a fresh process, under the same load; one that fails is out, unless it is the reference."""
    def run(plan):
        commands = servers(plan)
        command = [plan.program(load), "--seconds", plan.seconds, "--warm-up", min(0.25, plan.seconds / 2), *options]

        def once(name):
            where = os.path.join(plan.folder, "socket") if path else "0"
            if path and os.path.exists(where):
                os.unlink(where)
            try:
                return measure_under_load(commands[name] + (plan.certificate if tls else []), command, plan.cores, where)
            except Failed as error:
                if name == next(iter(commands)):
                    raise
                plan.failures.append((name, str(error)))
                return None
        return {name: runs for name, runs in in_turns(commands, plan.rounds, once).items() if None not in runs}
    return run


def of_programs(programs, scenario):
    """One of bench_loop's scenarios; tulp is the reference."""
    def run(plan):
        commands = present(plan, {name: [plan.program(program)] for name, program in programs.items()})
        count = 100_000 if plan.is_quick else 1_000_000

        def once(name):
            result = subprocess.run([*commands[name], scenario, str(count), "2"], stdout=subprocess.PIPE, text=True, timeout=120)
            if result.returncode != 0:
                raise Failed(f"{name}: {scenario} failed, see above")
            return {measure: min(values) for measure, values in json.loads(result.stdout).items()}
        return in_turns(commands, plan.rounds, once)
    return run


def starts(plan):
    count = 100 if plan.is_quick else 500
    in_python = ("import subprocess, time; begin = time.perf_counter()\n"
                 f"for _ in range({count}): subprocess.run(['/bin/true'], check=True)\n"
                 f"print('{{\"us\": %.1f}}' % ((time.perf_counter() - begin) / {count} * 1e6))")
    commands = {"posix_spawn in C": [plan.program("peer_posix_starts"), str(count)],
                "tulp create_subprocess_exec": [plan.program("tulp_starts"), str(count)], "Python subprocess": [python(), "-c", in_python]}
    return in_turns(commands, plan.rounds, lambda name: json.loads(
        subprocess.run(commands[name], stdout=subprocess.PIPE, text=True, check=True, timeout=120, preexec_fn=on_core(plan.cores[0])).stdout))


def parked(plan):
    count = 50_000 if plan.is_quick else 1_000_000
    commands = {"mmap, guard, touch in C": [plan.program("raw_stacks"), str(count)],
                "tulp": [plan.program("tulp_micro"), str(count), "memory"]}

    def once(name):
        output = subprocess.run(commands[name], stdout=subprocess.PIPE, text=True, check=True, timeout=240,
                                preexec_fn=on_core(plan.cores[0])).stdout
        values = {line.split()[0]: float(line.split()[1]) for line in output.splitlines()}
        return {"ns": values.get("raw_stack", values.get("park_new_fiber")),
                "bytes": values.get("raw_stack_memory", values.get("memory_per_parked_fiber"))}
    return in_turns(commands, min(plan.rounds, 2), once)


def static_http(target):
    def run(plan):
        tulp = plan.build.parent.parent / "tools" / "tulp" / "tulp"
        for program in tulp, "nginx", "wrk":
            if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
                raise FileNotFoundError(f"{program} is not there")
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            subprocess.run([HERE / "bench_serve", tulp, "--rounds", str(min(plan.rounds, 3)), "--seconds", "1", "--target", target,
                            "--json", file.name], stdout=subprocess.DEVNULL, check=True)
            return json.load(file)[target]
    return run


def idle_memory(servers, count, tls=False):
    def run(plan):
        commands = servers(plan)
        wanted = min(count, footprint.most_connections()) // (10 if plan.is_quick else 1)

        def once(name):
            command = commands[name] + (plan.certificate if tls else [])
            with serving(command, plan.cores[0]) as (process, port):
                return footprint.of_idle_connections(process.pid, int(port), wanted, tls)
        return in_turns(commands, 1 if plan.is_quick else 2, once)
    return run


LOOPS = {"tulp": "tulp_loop", "libuv": "peer_libuv_loop", "Boost.Asio": "peer_asio_loop"}
TASKS = {"tulp": "tulp_tasks", "Boost.Fiber": "peer_boost_fiber", "Go": "peer_go"}
TO_HAND = "the bars are ratios to the hand-written server of the same round."


def echo(name, connections, size, pipeline=1, is_quick=False, title=None, more=()):
    title = title or f"Echo: {connections:,} connection{'s' if connections > 1 else ''}, {size:,} B"
    return Work(name, title, f"{connections:,} connections each keep {pipeline} message{'s' if pipeline > 1 else ''} of {size:,} B in flight; "
                f"every byte is compared; {TO_HAND}",
                under_load(echo_servers, "--connections", connections, "--size", size, "--pipeline", pipeline, *more),
                [(CPU, MESSAGE_NS)], is_quick)


def micro(name, title, programs, scenario, measure="cpu_ns", is_quick=False):
    return Work(name, title, f"{scenario} of bench_loop, no network: {'processor time' if measure == 'cpu_ns' else 'time'} of an operation; "
                "the bars are ratios to tulp's.", of_programs(programs, scenario), [(measure, "ns")], is_quick)


WORKS = [
    echo("echo-1", 1, 64),
    echo("echo-100", 100, 64, is_quick=True),
    echo("echo-1000", 1000, 64),
    echo("echo-10000", 10000, 64, more=["--seconds", 1, "--warm-up", 0.5]),   # else the slow ones answer some of them only
    echo("echo-16k", 100, 16384, is_quick=True),
    echo("pipelined", 100, 64, 16, title="Echo: 100 connections, 64 B, 16 in flight"),
    Work("records", "Records of 64 B, 16 in flight", f"100 connections; the server reads each record and answers it by itself; {TO_HAND}",
         under_load(record_servers, "--connections", 100, "--size", 64, "--pipeline", 16), [(CPU, MESSAGE_NS)], True),
    Work("streaming", "Streaming: blocks of 1 MiB on 10 connections", "A message is a block that comes back whole; the bars are ratios to the "
         "hand-written server with reads of 64 KiB.", under_load(streaming_servers, "--connections", 10, "--size", 1 << 20), [(CPU, MESSAGE_NS)]),
    Work("connections", "Connect, one echo, close", f"100 at a time, each for 64 B there and back; {TO_HAND}",
         under_load(echo_servers, "--connections", 100, load="load_connections"), [(CPU, MESSAGE_NS)], True),
    Work("unix", "Echo on Unix sockets", f"100 connections, 64 B; {TO_HAND}",
         under_load(unix_servers, "--connections", 100, path=True), [(CPU, MESSAGE_NS)]),
    Work("datagrams", "UDP", f"100 sockets with one datagram of 64 B in flight each; {TO_HAND}",
         under_load(datagram_servers, "--connections", 100, "--udp"), [(CPU, MESSAGE_NS)]),
    Work("tls-echo", "TLS echo: 100 connections, 1 KiB", "TLS 1.3, one message in flight; the bars are ratios to epoll with OpenSSL by hand.",
         under_load(tls_servers, "--connections", 100, "--size", 1024, "--tls", tls=True), [(CPU, MESSAGE_NS)], True),
    Work("tls-handshakes", "TLS handshakes", "100 at a time, full, P-256, a byte echoed on each; the bars are ratios to epoll with OpenSSL by hand.",
         under_load(tls_servers, "--connections", 100, load="load_handshakes", tls=True), [(CPU, MESSAGE_NS)]),
    Work("http-small", "Static HTTP: 612 B", "wrk with 64 connections that stay; the bars are ratios to nginx without its cache.",
         static_http("/small.html"), [("cpu", "us of the server's CPU time")]),
    Work("http-large", "Static HTTP: 1 MiB", "As above, with a large file.", static_http("/large.bin"), [("cpu", "us of the server's CPU time")]),
    micro("switch", "Switch from task to task", TASKS, "switch", is_quick=True),
    micro("create-and-await", "Create a task and await it", TASKS, "create_and_await", is_quick=True),
    micro("lock", "A lock handed over", TASKS, "lock_hand_over"),
    micro("queue", "An item through a queue", TASKS, "queue_ping_pong"),
    micro("timers-cancelled", "A timer scheduled and cancelled", LOOPS, "timers_cancelled"),
    micro("timers-fired", "A timer scheduled and fired", LOOPS, "timers_fired"),
    micro("posts", "A post from another thread", LOOPS | {"Go channel": "peer_go"}, "posts_1_thread"),
    Work("starts", "Starting a process", "/bin/true is started and waited for, one after the other on one core, by the clock; the bars are ratios to "
         "posix_spawn and waitpid.", starts, [("us", "us")]),
    Work("parked-fibers", "Parked fibers", "A million (quick: 50,000) with guards on, beside as many stacks mapped, guarded and touched in C in the "
         "same round; memory is resident pages and page tables.", parked, [("ns", "ns a fiber"), ("bytes", "B a fiber")]),
    Work("idle-memory", "Memory of an idle connection", "Of the server, resident pages and page tables together, once 10,000 connections (or what the "
         "limit of descriptors allows) have each echoed a byte; then its CPU time while nothing happens for a second, given as 1 us where it is less.",
         idle_memory(echo_servers, 10_000), [("bytes", "B a connection"), ("idle_us", "us of CPU time in an idle second")]),
    Work("idle-memory-tls", "Memory of an idle TLS connection", "As above, with 1,000 connections.", idle_memory(tls_servers, 1000, tls=True),
         [("bytes", "B a connection")]),
    Work("compile", "Compiling a source that includes it", "c++ -std=c++20 -fsyntax-only of one include and an empty main; the bars are "
         "ratios to <iostream>.", footprint.compile_times, [("s", "s")]),
    Work("size", "Size of a stripped program", "A program that prints hello, in tulp's case from a fiber; -O2, stripped.", footprint.sizes,
         [("bytes", "B")]),
]
