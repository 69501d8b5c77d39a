"""The machine that benchmarks run on: its network, its cores, servers on them and what they use, and a certificate."""
import contextlib
import ctypes
import fcntl
import json
import os
import re
import resource
import shlex
import socket
import struct
import subprocess
import threading


class Failed(Exception):
    """A program that takes part has not done what it should."""


def enter_private_network():
    """Moves to a network namespace of our own, whose loopback is not paced by the host's congestion control."""
    new_user, new_network, set_flags, flag_up = 0x10000000, 0x40000000, 0x8914, 1
    libc = ctypes.CDLL(None)
    if libc.unshare(new_network) != 0 and libc.unshare(new_user | new_network) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flag_up))
    try:
        with open("/proc/sys/net/ipv4/tcp_congestion_control", "w") as control:
            control.write("reno")
    except OSError:
        pass  # the heading shows what is in force
    return True


def congestion_control():
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as control:
        return control.read().strip()


def two_cores():
    """One for the server and one for the client; the same one twice if there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def allow_descriptors():
    """As many as we may have, for us and for what we start; gives how many that is."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


def on_core(core):
    return lambda: os.sched_setaffinity(0, {core})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def cpu_ns(pid):
    """What all threads of a process have used that are there now."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total


def end(process):
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving(command, core, where="0"):
    """A server that takes a port (or a path) as its last argument and prints the port that it got; gives the process and that."""
    process = subprocess.Popen([*command, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=on_core(core))
    too_slow = threading.Timer(10, process.kill)
    too_slow.start()
    try:
        first_line = process.stdout.readline()
        port = re.search(r"(\d+)\s*$", first_line)
        if not port:
            raise Failed(f"{shlex.join(command)}: no port in its first line: {first_line!r}")
        too_slow.cancel()
        yield process, port[1]
    finally:
        too_slow.cancel()
        end(process)
        process.stdin.close()
        process.stdout.close()


def measure_under_load(server, load, cores, where="0"):
    """One server from start to end under load, which is a command that lacks its target; gives what that has measured."""
    with serving(server, cores[0], where) as (process, port):
        target = ["--unix", where] if "/" in where else ["--port", port]
        command = [*map(str, load), *target, "--pid", str(process.pid)]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=on_core(cores[1]))
        if result.returncode != 0:
            raise Failed(f"{shlex.join(server)}: failed under load, see above: {shlex.join(command)}")
        return json.loads(result.stdout)


def make_certificate(folder):
    """A certificate for nobody in particular that lives as long as the folder; returns chain file and key file."""
    files = [os.path.join(folder, name) for name in ("chain.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
                   check=True, stderr=subprocess.DEVNULL)
    return files
