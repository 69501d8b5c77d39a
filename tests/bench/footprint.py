"""What is occupied while nothing happens: memory, time to compile, and the size of programs."""
import os
import pathlib
import socket
import ssl
import subprocess
import tempfile
import time

from machine import allow_descriptors, cpu_ns
from rounds import in_turns

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPARE_DESCRIPTORS = 100
HELLO_IN_FIBER = '#include <tulp/tulp.hpp>\n#include <cstdio>\nint main() { return tulp::run_main([] { std::puts("hello"); }); }\n'
HELLO = '#include <iostream>\nint main() { std::cout << "hello\\n"; }\n'


def most_connections():
    """Both sides have a descriptor for each."""
    return allow_descriptors() - SPARE_DESCRIPTORS


def kib_in(path, key):
    with open(path) as file:
        return next((int(line.split()[1]) for line in file if line.startswith(key)), 0)


def occupied_bytes(pid):
    return 1024 * (kib_in(f"/proc/{pid}/smaps_rollup", "Rss:") + kib_in(f"/proc/{pid}/status", "VmPTE:"))


def of_idle_connections(pid, port, count, tls):
    context = ssl._create_unverified_context() if tls else None

    def connect(index):
        source = f"127.0.0.{1 + index // 20000}"   # one address has ports for so many
        connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0) if index >= 20000 else None)
        connection = context.wrap_socket(connection) if tls else connection
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        return connection
    first = connect(0)
    before = occupied_bytes(pid)
    connections = [connect(index) for index in range(count)]
    time.sleep(0.2)
    occupied = (occupied_bytes(pid) - before) / count
    used = cpu_ns(pid)
    time.sleep(1)
    used = cpu_ns(pid) - used
    for connection in [first, *connections]:
        connection.close()
    return {"bytes": max(occupied, 1), "idle_us": max(used / 1000, 1), "connections": count}


def include_options():
    return ["-I", str(ROOT / "include")]


def compile_times(plan):
    headers = {"<iostream>": "iostream", "<tulp/tulp.hpp>": "tulp/tulp.hpp", "<boost/asio.hpp>": "boost/asio.hpp"}
    source = os.path.join(plan.folder, "include.cpp")

    def once(name):
        # Boost.Asio 1.74 forgets <utility>.
        pathlib.Path(source).write_text(f"#include <utility>\n#include <{headers[name]}>\nint main() {{}}\n")
        begin = time.monotonic()
        subprocess.run(["c++", "-std=c++20", "-fsyntax-only", *include_options(), source], check=True, stderr=subprocess.DEVNULL)
        return {"s": time.monotonic() - begin}
    return in_turns([name for name in headers if exists(headers[name])], 1 if plan.is_quick else 3, once)


def exists(header):
    test = f"#if !__has_include(<{header}>)\n#error\n#endif\n"
    command = ["c++", "-x", "c++", "-fsyntax-only", *include_options(), "-"]
    return subprocess.run(command, input=test, text=True, stderr=subprocess.DEVNULL).returncode == 0


def libraries_of_static(folder):
    """What a static libtulp of this build folder wants to be linked with, if those are shared."""
    has_ring = "liburing" in (folder / "meson-private" / "tulp.pc").read_text()
    return ["-lboost_context", "-lssl", "-lcrypto", "-lidn2", "-ldl", "-pthread", *(["-luring"] if has_ring else [])]


def sizes(plan):
    folder = plan.build.parent.parent
    library = folder / "src" / "libtulp.a"
    programs = {
        "iostream": (HELLO, []),
        "tulp, shared library": (HELLO_IN_FIBER, ["-L", str(library.parent), "-ltulp"]),
        "tulp, static library": (HELLO_IN_FIBER, ["-Wl,--gc-sections", str(library), *libraries_of_static(folder)]),
    }

    def once(name):
        source, libraries = programs[name]
        with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
            pathlib.Path(folder, "hello.cpp").write_text(source)
            program = os.path.join(folder, "hello")
            subprocess.run(["c++", "-std=c++20", "-O2", "-s", *include_options(), os.path.join(folder, "hello.cpp"), "-o", program,
                            *libraries], check=True)
            return {"bytes": os.path.getsize(program)}
    return in_turns(programs, 1, once)
