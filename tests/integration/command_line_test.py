"""What all subcommands have in common: help, version, bad arguments, and an end by signal."""
import signal
import subprocess
import time
import unittest

from programs import TULP, tulp


class CommandLine(unittest.TestCase):
    def test_help_and_version_go_to_stdout(self):
        for arguments in ["--help"], ["fetch", "--help"], ["echo", "--help"], ["demo", "-h"], ["--version"]:
            with self.subTest(arguments):
                result = tulp(*arguments)
                self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertRegex(tulp("--version").stdout, rb"^tulp \d+\.\d+\.\d+\n$")
        self.assertIn(b"28  the time given was over", tulp("fetch", "--help").stdout)

    def test_bad_arguments_get_one_line(self):
        for arguments in [], ["bogus"], ["--bogus"], ["fetch"], ["echo"], ["echo", "--port", "1", "x"]:
            with self.subTest(arguments):
                result = tulp(*arguments)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (2, b"", 1))
                self.assertTrue(result.stderr.startswith(b"tulp"), result.stderr)

    def test_signals_end_every_command_quietly(self):
        for arguments in ["demo", "--pages", "20000", "--fibers", "500"], ["demo", "--serve"], ["echo", "--port", "0"], \
                ["echo", "--udp", "--port", "0"]:
            for number, code in (signal.SIGINT, 130), (signal.SIGTERM, 143):
                with self.subTest(arguments, number=number):
                    pipe = subprocess.PIPE
                    with subprocess.Popen([TULP, *arguments], stdout=pipe, stderr=pipe) as process:
                        process.stdout.readline()
                        time.sleep(0.3)   # in the middle of it
                        process.send_signal(number)
                        self.assertEqual((process.wait(timeout=60), process.stderr.read()), (code, b""))


if __name__ == "__main__":
    unittest.main()
