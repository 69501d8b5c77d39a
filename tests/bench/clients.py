"""What bench_fetch and bench_crawl share: nginx on one core, and clients on another that take turns."""
import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time

from machine import congestion_control, enter_private_network, on_core, two_cores

CONFIGURATION = """
daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
events {{ worker_connections 1024; }}
http {{
  access_log {log}; types {{ text/html html; }} default_type application/octet-stream;
  sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  server {{
    listen 127.0.0.1:{http};
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {chain}; ssl_certificate_key {key};
    root {folder};
  }}
}}
"""


def parser(description):
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("tulp", type=os.path.abspath, help="the program, of a release build")
    made.add_argument("--rounds", type=int, default=7)
    made.add_argument("--json", metavar="FILE", help="write every single run there")
    made.add_argument("--host-network", action="store_true", help="do not measure in a network namespace with reno")
    return made


def prepare(arguments, name, what):
    """Moves to a network of our own, and says what is measured where; gives the server's core and the client's."""
    cores = two_cores()
    if cores[0] == cores[1]:
        print(f"{name}: only one core, so server and client share it", file=sys.stderr)
    if not arguments.host_network and not enter_private_network():
        print(f"{name}: no private network allowed, so the host's is used", file=sys.stderr)
    print(f"{what}; {arguments.rounds} rounds; Linux {os.uname().release}, {congestion_control()}; "
          f"nginx on core {cores[0]}, the client on core {cores[1]}", flush=True)
    return cores


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def nginx(work, folder, certificate, core, log="off"):
    """nginx with the files of `folder`; gives the port for http and that for https."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin") or sys.exit("nginx is not installed")
    http, https = free_ports(2)
    with open(f"{work}/conf", "w") as file:
        file.write(CONFIGURATION.format(work=work, folder=folder, http=http, https=https, log=log, chain=certificate[0],
                                        key=certificate[1]))
    with subprocess.Popen([program, "-c", f"{work}/conf", "-e", f"{work}/errors"], preexec_fn=on_core(core)) as server:
        try:
            while socket.socket().connect_ex(("127.0.0.1", https)) != 0:
                if server.poll() is not None:
                    sys.exit(f"nginx ended with {server.returncode}")
                time.sleep(0.01)
            yield http, https
        finally:
            server.terminate()


def measure(command, core, codes=(0,), **options):
    """Runs `command` to its end; gives the seconds that it took, by the clock and of processor time, and the most memory
    that it had resident, in MiB."""
    begin = time.monotonic()
    process = subprocess.Popen(command, preexec_fn=on_core(core), **options)
    _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in codes:
        sys.exit(f"{' '.join(command)}: ended with {code}")
    return {"wall_s": time.monotonic() - begin, "cpu_s": usage.ru_utime + usage.ru_stime, "user_s": usage.ru_utime,
            "memory_mib": usage.ru_maxrss / 1024}


def run_rounds(arguments, scenarios):
    """`scenarios` is {its name: {a client's name: what runs it once}}; gives the runs in the same shape, each a list.
    Every round starts with another client."""
    runs = {scenario: {name: [] for name in clients} for scenario, clients in scenarios.items()}
    for round_number in range(arguments.rounds):
        for scenario, clients in scenarios.items():
            names = list(clients)
            first = round_number % len(names)
            for name in names[first:] + names[:first]:
                if sys.stderr.isatty():
                    print(f"\rround {round_number + 1} of {arguments.rounds} ", end="", file=sys.stderr, flush=True)
                runs[scenario][name].append(clients[name]())
    if sys.stderr.isatty():
        print("\r" + " " * 40, end="\r", file=sys.stderr)
    return runs


def print_table(arguments, runs):
    """Medians; the first client is the one that the others are given as ratios to, each taken within its round."""
    headings = ["wall s", "CPU s", "user s", "MiB", "wall ratio", "CPU ratio"]
    for scenario, by_client in runs.items():
        print(f"\n{scenario}\n" + " " * 24 + "".join(f"{heading:>12}" for heading in headings))
        reference = next(iter(by_client.values()))
        for name, own in by_client.items():
            cells = [f"{statistics.median(run[measured] for run in own):.3f}" for measured in ("wall_s", "cpu_s", "user_s")]
            cells.append(f"{statistics.median(run['memory_mib'] for run in own):.0f}")
            cells += [f"{statistics.median(run[measured] / other[measured] for run, other in zip(own, reference)):.2f}"
                      for measured in ("wall_s", "cpu_s")]
            print(f"{name:<24}" + "".join(f"{cell:>12}" for cell in cells))
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(runs, file, indent=1)
