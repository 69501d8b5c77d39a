"""What the tests of C client libraries share: real servers, started in a temporary folder, that end with the `with` block,
and with this process however it ends; and the programs of tests/clients."""
import contextlib
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from programs import PATH, SKIPPED, TULP, accepts, free_port, temporary_folder

CLIENTS = pathlib.Path(TULP).parents[2] / "tests" / "clients"
MAKE_CERTIFICATES = CLIENTS.parent / "programs" / "make_certificates"
LIBC = ctypes.CDLL(None)
SET_DEATH_SIGNAL = 1   # PR_SET_PDEATHSIG


def skip(why):
    print(f"SKIPPED, NOTHING WAS TRIED: {why}", file=sys.stderr)
    sys.exit(SKIPPED)


def program(name, package, folders=()):
    """Where a server's program is; without it the script ends as skipped."""
    path = os.pathsep.join([*map(str, folders), PATH])
    return shutil.which(name, path=path) or skip(f"no {name} here (Debian's {package})")


def client(name):
    """Runs scenarios of a program of tests/clients: client(NAME)(SCENARIO, ARGUMENT...)."""
    path = CLIENTS / f"client_{name}"
    if not path.exists():
        skip(f"{path.name} was not built, for want of its library")

    def run(*args):
        result = subprocess.run([path, *map(str, args)], capture_output=True, timeout=900, check=False)
        for line in result.stdout.decode().splitlines():
            print(f"{name} {args[0]}: {line}", file=sys.stderr)
        assert (result.returncode, result.stderr) == (0, b""), (args[0], result.returncode, result.stderr.decode())
    return run


def owner(name):
    """Options of subprocess that make `name` of root, for servers that refuse to be it."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        skip(f"no user {name} here, and the server refuses to run as root")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def folder_of(options):
    with temporary_folder() as folder:
        if options:
            os.chown(folder, options["user"], options["group"])
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def started(command, is_ready, stop=signal.SIGTERM, **options):
    """A server that is ready, or None if it has ended before it was; what it says goes to a file in its folder."""
    def end_with_parent():   # the very signal, so that it takes its children with it
        LIBC.prctl(SET_DEATH_SIGNAL, stop)

    with subprocess.Popen(list(map(str, command)), preexec_fn=end_with_parent, stdin=subprocess.DEVNULL, **options) as process:
        try:
            end = time.monotonic() + 60
            while process.poll() is None and not is_ready():
                assert time.monotonic() < end, (command, "is not ready after a minute")
                time.sleep(0.02)
            yield process if process.poll() is None else None
        finally:
            process.send_signal(stop)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def accepts_at(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextlib.contextmanager
def postgres():
    """PostgreSQL with TLS; gives how libpq finds it by its socket and by TCP, and the server's process."""
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb, server, psql = (program(name, "postgresql", folders) for name in ("initdb", "postgres", "psql"))
    options = owner("postgres")
    with folder_of(options) as folder:
        subprocess.run([initdb, "-D", folder / "data", "-U", "tulp", "-A", "trust", "-N", "--no-instructions"], check=True,
                       capture_output=True, timeout=120, cwd=folder, **options)
        subprocess.run([MAKE_CERTIFICATES, folder / "certificates"], check=True)
        for name in ("good.pem", "good.key"):
            shutil.copy(folder / "certificates" / name, folder / "data" / name)
            if options:
                os.chown(folder / "data" / name, options["user"], options["group"])
        (folder / "data" / "good.key").chmod(0o600)
        for _ in range(5):   # a port that was free may be taken when the server comes to it
            port = free_port()
            settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "max_connections": 150,
                        "fsync": "off", "ssl": "on", "ssl_cert_file": "good.pem", "ssl_key_file": "good.key",
                        "max_wal_size": "64MB"}
            command = [server, "-D", folder / "data", "-p", port]
            for name, value in settings.items():
                command += ["-c", f"{name}={value}"]
            with open(folder / "log", "ab") as log:
                def is_ready(port=port):
                    where = f"host={folder} port={port} user=tulp dbname=postgres"
                    return (folder / f".s.PGSQL.{port}").exists() and subprocess.run(
                        [psql, where, "-c", "select 1"], capture_output=True, timeout=60, check=False).returncode == 0
                with started(command, is_ready, signal.SIGQUIT, stdout=log, stderr=log, cwd=folder, **options) as process:
                    if process is not None:
                        common = f"port={port} user=tulp dbname=postgres"
                        yield f"host={folder} {common}", f"host=localhost {common}", process
                        return
        raise RuntimeError((folder / "log").read_text())


@contextlib.contextmanager
def redis():
    """Redis; gives its port, the path of its socket, and the server's process."""
    server = program("redis-server", "redis-server")
    with temporary_folder() as folder:
        for _ in range(5):
            port = free_port()
            (folder / "conf").write_text(f"bind 127.0.0.1\nport {port}\nunixsocket {folder}/socket\ndir {folder}\n"
                                         f'save ""\nappendonly no\ndaemonize no\nmaxclients 1000\n')
            with open(folder / "log", "ab") as log, \
                    started([server, folder / "conf"], lambda port=port: accepts(port), stdout=log, stderr=log) as process:
                if process is not None:
                    yield port, folder / "socket", process
                    return
        raise RuntimeError((folder / "log").read_text())


@contextlib.contextmanager
def mariadb():
    """MariaDB; gives the path of its socket, and the server's process."""
    server, install = program("mariadbd", "mariadb-server"), program("mariadb-install-db", "mariadb-server")
    options = owner("mysql")
    with folder_of(options) as folder:
        result = subprocess.run([install, "--no-defaults", f"--datadir={folder}/data", "--skip-test-db", "--skip-name-resolve",
                                 "--auth-root-authentication-method=normal", f"--tmpdir={folder}"], check=False,
                                capture_output=True, timeout=120, cwd=folder, **options)
        assert result.returncode == 0, result
        command = [server, "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/socket", "--skip-networking",
                   f"--pid-file={folder}/pid", "--max-connections=200", f"--tmpdir={folder}", "--skip-log-bin",
                   "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"]
        with open(folder / "log", "ab") as log, \
                started(command, lambda: accepts_at(folder / "socket"), stdout=log, stderr=log, cwd=folder, **options) as process:
            if process is None:
                raise RuntimeError((folder / "log").read_text())
            yield folder / "socket", process


class ClientTest(unittest.TestCase):
    """Once with each server, and the one that kills it last."""

    def run_scenarios(self, run, arguments, *names):
        for name in names:
            with self.subTest(name):
                run(name, *arguments)
