"""The machine that benchmarks run on: its network, its cores, and a certificate."""
import ctypes
import fcntl
import os
import socket
import struct
import subprocess


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


def on_core(core):
    return lambda: os.sched_setaffinity(0, {core})


def make_certificate(folder):
    """A certificate for nobody in particular that lives as long as the folder; returns chain file and key file."""
    files = [os.path.join(folder, name) for name in ("chain.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
                   check=True, stderr=subprocess.DEVNULL)
    return files
