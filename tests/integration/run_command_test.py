"""tulp run: commands at once, each one's output together, the worst one's exit code, and an end that leaves nothing."""
import signal
import subprocess
import time
import unittest

from programs import TULP, on_terminal, temporary_folder, tulp


def run(*commands, **options):
    result = tulp("run", *commands, **options)
    return result.stdout.decode(), result.stderr.decode(), result.returncode


def fed(lines, *args):
    result = subprocess.run([TULP, "run", *args], input=lines.encode(), capture_output=True, timeout=60, check=False)
    return result.stdout.decode(), result.stderr.decode(), result.returncode


def exists(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"   # whoever has to reap it takes his time
    except FileNotFoundError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class RunCommand(unittest.TestCase):
    def test_each_ones_output_is_together(self):
        noisy = "for i in 1 2 3 4 5 6 7 8 9; do printf {0}; printf {0} >&2; sleep 0.01; done; echo; echo >&2"
        out, err, code = run("-q", "-j", "4", *(noisy.format(letter) for letter in "abcd"))
        expected = sorted(letter * 9 for letter in "abcd")
        self.assertEqual((sorted(out.split()), sorted(err.split()), code), (expected, expected, 0))

    def test_much_output(self):
        out, _, code = run("-q", *["seq 300000"] * 3)
        self.assertEqual(out, "".join(f"{i}\n" for i in range(1, 300001)) * 3)
        self.assertEqual(code, 0)

    def test_the_worst_exit_code(self):
        self.assertEqual(run("true")[2], 0)
        self.assertEqual(run("exit 3", "exit 7", "true")[2], 7)
        self.assertEqual(run("exit 3", "kill -KILL $$")[2], 128 + 9)
        self.assertEqual(run("nosuch-program")[2], 127)

    def test_what_failed_is_said_and_a_summary(self):
        _, err, _ = run("exit 3", "kill -TERM $$", "true")
        self.assertIn("tulp run: exit 3: exited with 3\n", err)
        self.assertIn("tulp run: kill -TERM $$: killed: Terminated\n", err)
        self.assertRegex(err, r"\ntulp run: 3 commands in [^:]+: 1 succeeded, 2 failed\n$")
        self.assertEqual(run("-q", "exit 3"), ("", "", 3))

    def test_commands_from_standard_input(self):
        out, err, code = fed("echo one\n\n  \nexit 4\necho two", "-j", "1")
        self.assertEqual((out, code), ("one\ntwo\n", 4))
        self.assertIn("3 commands", err)
        self.assertEqual(fed("", "-q"), ("", "", 0))
        self.assertEqual(fed("x" * 2_000_000)[2], 1)

    def test_commands_run_as_they_come(self):
        with subprocess.Popen([TULP, "run", "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(b"echo first\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"first\n")
            process.stdin.write(b"echo second\n")
            process.stdin.close()
            self.assertEqual(process.stdout.read(), b"second\n")

    def test_no_more_than_jobs_at_a_time(self):
        with temporary_folder() as folder:
            command = f"touch {folder}/$$; ls {folder} | wc -l; sleep 0.02; rm {folder}/$$"
            for jobs in (1, 3):
                counts = [int(count) for count in run("-q", "-j", jobs, *[command] * 12)[0].split()]
                self.assertEqual(len(counts), 12)
                self.assertLessEqual(max(counts), jobs)

    def test_commands_read_nothing_and_have_no_descriptor_of_ours(self):
        out, _, _ = run("-q", "cat; cd /proc/self/fd && echo *")
        self.assertEqual(out, "0 1 2 3\n")   # 3 is the listing itself

    def test_interruption_stops_all(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with temporary_folder() as folder:
                command = f"sleep 1000 & echo $! > {folder}/$$; wait"
                with subprocess.Popen([TULP, "run", "-j", "3", *[command] * 5], stderr=subprocess.PIPE) as process:
                    wait_until(lambda: len([f for f in folder.iterdir() if f.stat().st_size]) == 3)
                    pids = [int(pid) for f in folder.iterdir() for pid in (f.name, f.read_text())]
                    process.send_signal(number)
                    err = process.stderr.read().decode()
                    self.assertEqual(process.wait(), code)
                    self.assertIn("0 succeeded, 0 failed, 3 stopped, 2 not begun", err)
                for pid in pids:
                    self.assertFalse(exists(pid))

    def test_what_does_not_stop_is_killed(self):
        with temporary_folder() as folder:
            command = f"trap '' TERM; echo $$ > {folder}/pid; while :; do sleep 1000; done"
            with subprocess.Popen([TULP, "run", command], stderr=subprocess.DEVNULL) as process:
                wait_until(lambda: (folder / "pid").exists() and (folder / "pid").stat().st_size)
                begin = time.monotonic()
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(), 130)
                self.assertGreaterEqual(time.monotonic() - begin, 1.9)
            self.assertFalse(exists(int((folder / "pid").read_text())))

    def test_a_reader_that_goes_ends_it_without_a_word(self):
        with subprocess.Popen([TULP, "run", "-q", *["yes | head -c 1000000"] * 50], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.read(10)
            process.stdout.close()
            self.assertEqual((process.stderr.read(), process.wait()), (b"", 23))

    def test_progress_on_a_terminal(self):
        text, code = on_terminal("run", "-j", "2", "sleep 1", "sleep 1; exit 2")
        self.assertEqual(code, 2)
        self.assertRegex(text, r"\d of 2 done, \d running")
        self.assertIn("1 succeeded, 1 failed", text)

    def test_bad_arguments(self):
        for arguments in (["-j", "0", "true"], ["-j", "x", "true"], ["--nosuch"]):
            self.assertEqual(run(*arguments)[2], 2)
        self.assertIn("Examples:\n  tulp run", run("--help")[0])


if __name__ == "__main__":
    unittest.main()
