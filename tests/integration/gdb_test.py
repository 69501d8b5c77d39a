"""tools/gdb/tulp.py on a process that lives and on the core file of one that died."""
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import unittest

from programs import IS_SANITIZED, RELAY, SKIPPED, temporary_folder

STUCK = RELAY.parent / "stuck"
SCRIPT = pathlib.Path(__file__).parents[2] / "tools" / "gdb" / "tulp.py"

if shutil.which("gdb") is None:
    print("skipped: gdb is not installed", file=sys.stderr)
    sys.exit(SKIPPED)
if IS_SANITIZED:
    print("skipped: of its debug information a sanitized build has the lines alone", file=sys.stderr)
    sys.exit(SKIPPED)


def gdb(*where, commands):
    """What gdb prints."""
    orders = [part for command in (f"source {SCRIPT}", *commands) for part in ("-ex", command)]
    done = subprocess.run(["gdb", "-q", "-nx", "-batch", *orders, *map(str, where)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100, check=False,
                          env={**os.environ, "DEBUGINFOD_URLS": ""})
    text = done.stdout.decode(errors="replace")
    if "ptrace: Operation not permitted" in text:
        print("skipped: this process may not trace another one", file=sys.stderr)
        sys.exit(SKIPPED)
    return text


class Gdb(unittest.TestCase):
    def assert_shows_tasks(self, text):
        self.assertRegex(text, r"(?m)^ +1  main +waits for its timer$")
        self.assertRegex(text, r"(?m)^ +2  deep +waits for the event 0x\w+$")
        self.assertRegex(text, r"(?m)^ +5  waiter +waits for the lock 0x\w+, held by task 'holder'$")
        self.assertRegex(text, r"(?m)^5 tasks$")

    def assert_shows_stack(self, text):
        """Of the task 'deep': from where it is parked to where it began, with arguments."""
        frames = text.partition("task 'deep' waits for the event")[2].partition("\ntask '")[0].splitlines()[1:]
        depths = [line for line in frames if "wait_at_the_bottom (" in line]
        self.assertEqual([int(line.partition("depth=")[2].partition(")")[0]) for line in depths], list(range(6)), text)
        self.assertRegex(frames[0], r"^#0 .*tulp::(detail::jump|Fiber::switch_to)")
        self.assertTrue(any("tulp::Event::wait (" in line for line in frames), text)
        self.assertTrue(any("first_frame (" in line for line in frames), text)

    def test_a_live_process_goes_on_afterwards(self):
        with subprocess.Popen([STUCK, "tasks"], stdout=subprocess.PIPE) as program:
            try:
                self.assertEqual(program.stdout.readline(), b"ready\n")
                text = gdb("-p", program.pid, commands=["backtrace 1", "tulp-tasks", "tulp-bt deep", "tulp-bt nobody",
                                                        "tulp-bt all", "backtrace 1"])
                self.assert_shows_tasks(text)
                self.assert_shows_stack(text)
                self.assertIn("tulp: there is no task 'nobody'", text)
                self.assertEqual(text.count("switch_to"), 1 + 5, text)   # deep alone, then all of them
                newest = [line.partition(" in ")[2] or line for line in text.splitlines() if line.startswith("#0 ")]
                self.assertEqual(newest[0], newest[-1])   # the thread's own stack is as it was
                program.send_signal(signal.SIGINT)
                self.assertEqual(program.wait(60), 130)
            finally:
                program.kill()

    def test_a_task_that_runs_is_shown_with_its_thread(self):
        with subprocess.Popen([STUCK, "spin"], stdout=subprocess.PIPE) as program:
            try:
                self.assertEqual(program.stdout.readline(), b"ready\n")
                text = gdb("-p", program.pid, commands=["tulp-tasks", "tulp-bt busy"])
            finally:
                program.kill()
        self.assertRegex(text, r"(?m)^ +1  main +waits for task 'busy'$")
        self.assertRegex(text, r"(?m)^ +2  busy +runs in thread 1$")
        self.assertRegex(text, r"(?m)^#\d+ .*compute_for_ever \(")

    def test_a_core_file(self):
        if pathlib.Path("/proc/sys/kernel/core_pattern").read_text() != "core\n":
            self.skipTest("core files go elsewhere here")
        if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
            self.skipTest("core files are forbidden here")

        def allow_core():
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

        with temporary_folder() as folder:
            with subprocess.Popen([STUCK, "tasks"], stdout=subprocess.PIPE, cwd=folder, preexec_fn=allow_core) as program:
                self.assertEqual(program.stdout.readline(), b"ready\n")
                program.send_signal(signal.SIGABRT)
                self.assertEqual(program.wait(60), -signal.SIGABRT)
            core, = folder.glob("core*")
            text = gdb(STUCK, core, commands=["tulp-tasks", "tulp-bt deep"])
        self.assert_shows_tasks(text)
        self.assert_shows_stack(text)

    def test_without_a_process_it_says_so(self):
        self.assertIn("tulp: ", gdb(STUCK, commands=["tulp-tasks"]))
        self.assertIn("usage: tulp-bt NAME|NUMBER|all", gdb(STUCK, commands=["tulp-bt"]))


if __name__ == "__main__":
    unittest.main()
