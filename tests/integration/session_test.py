"""Interactive sessions through tulp proxy last as long as they like, and ssh is one of them."""
import concurrent.futures
import contextlib
import getpass
import os
import pathlib
import shutil
import subprocess
import unittest

from programs import PATH, on_free_port
from proxy_test import Proxy
from sessions import PLACES_OF_TLS, hold_session
from tls_peers import LIMIT_SECONDS, certificates

SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


class Sessions(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(certificates())

    def test_keys_are_echoed_at_once_and_pauses_do_no_harm(self):
        with concurrent.futures.ThreadPoolExecutor(len(PLACES_OF_TLS)) as pool:   # side by side, for most of it are pauses
            sessions = [pool.submit(hold_session, self.folder, places, keys=400, pauses=4) for places in PLACES_OF_TLS]
        for places, held in zip(PLACES_OF_TLS, sessions):
            with self.subTest(places):
                held.result()

    @contextlib.contextmanager
    def sshd(self):
        """sshd for whoever runs this; gives the port."""
        program = shutil.which("sshd", path=PATH) or self.skipTest("sshd is not installed")
        if os.geteuid() == 0 and not pathlib.Path("/run/sshd").is_dir():
            self.skipTest("sshd has no /run/sshd")
        for name in "host", "user":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)

        def start(port):
            (self.folder / "sshd").write_text(SSHD.format(port=port, folder=self.folder))
            with open(self.folder / "errors", "wb") as errors:
                return subprocess.Popen([program, "-D", "-e", "-f", self.folder / "sshd"], stderr=errors)
        with on_free_port(start, (self.folder / "errors").read_text) as port:
            yield port

    def ssh(self, port, *command, **options):
        settings = "StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder}/known", "LogLevel=ERROR", "BatchMode=yes"
        options_of_ssh = [word for setting in settings for word in ("-o", setting)]
        place = "-F", "none", "-i", self.folder / "user", "-p", str(port), f"{getpass.getuser()}@127.0.0.1"
        return subprocess.run(["ssh", *options_of_ssh, *place, *command], capture_output=True, timeout=LIMIT_SECONDS,
                              check=False, **options)

    def test_ssh_goes_through_one_and_through_two_with_tls_between(self):
        own = "--tls-cert", self.folder / "good.pem", "--tls-key", self.folder / "good.key"
        trust = "--to-tls", "--cacert", self.folder / "ca.pem"
        with self.sshd() as port, Proxy("--to", f"127.0.0.1:{port}") as plain, \
                Proxy("--to", f"127.0.0.1:{port}", *own) as inner, \
                Proxy("--to", f"localhost:{inner.port}", *trust) as outer:
            for proxy in plain, outer:
                with self.subTest(proxy is plain):
                    self.use(proxy.port)
                    for _ in range(2):
                        self.assertRegex(proxy.log_line(), ": ended$")

    def use(self, port):
        typed = b"".join(b"echo line %d; sleep 0.0%d\n" % (number, number % 3) for number in range(30)) + b"exit 7\n"
        session = self.ssh(port, "-tt", "sh", input=typed)
        self.assertEqual(session.returncode, 7, session.stderr)
        self.assertEqual(session.stdout.count(b"line 29\r\n"), 1)   # beside its echo, which goes on
        data = os.urandom(5_000_000)
        self.assertTrue(self.ssh(port, "cat", input=data).stdout == data)


if __name__ == "__main__":
    unittest.main()
