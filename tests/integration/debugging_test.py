"""What programs say of themselves when they are stuck, and what they can be asked from outside."""
import os
import re
import select
import signal
import subprocess
import sys
import time
import unittest

from programs import RELAY

STUCK = RELAY.parent / "stuck"


def stuck(*args, seconds=60, **environment):
    """What `stuck` writes to stderr until it ends."""
    done = subprocess.run([STUCK, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          timeout=seconds, env={**os.environ, **environment}, check=True)
    return done.stderr.decode()


class Stuck:
    """A running `stuck`, killed at the end."""

    def __init__(self, *args, **environment):
        self.process = subprocess.Popen([STUCK, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**os.environ, **environment})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def read_errors_until(self, pattern):
        text = b""
        while not re.search(pattern, text):
            is_there = select.select([self.process.stderr], [], [], 60)[0]
            data = os.read(self.process.stderr.fileno(), 65536) if is_there else b""
            if not data:
                raise AssertionError(text.decode())
            text += data
        return text.decode()


class Debugging(unittest.TestCase):
    def test_a_deadlock_is_reported_once_with_its_circle(self):
        with Stuck("deadlock") as program:
            text = program.read_errors_until(rb"which waits for .*\n")
            self.assertIn("no task can ever go on", text)
            self.assertRegex(text, r"task 'a' waits for the lock 0x\w+, held by task 'b', which waits for the lock 0x\w+, "
                                   r"held by task 'a'")
            self.assertRegex(text, r"stuck\.cpp:\d+ \(.*take_both")
            os.set_blocking(program.process.stderr.fileno(), False)
            time.sleep(0.3)
            self.assertIsNone(program.process.stderr.read())   # and it waits on
            program.process.send_signal(signal.SIGINT)         # which still ends it
            self.assertEqual(program.process.wait(60), 130)

    def test_who_waits_for_another_thread_is_not_called_stuck(self):
        self.assertEqual(stuck("thread"), "")

    def test_a_signal_shows_the_tasks_of_a_program_that_runs(self):
        with Stuck("tasks", TULP_DUMP_SIGNAL="SIGUSR1") as program:
            self.assertEqual(program.process.stdout.readline(), b"ready\n")
            for _ in range(3):
                program.process.send_signal(signal.SIGUSR1)
                text = program.read_errors_until(rb"task 'waiter'[^\n]*\n(  .*\n)+")
                self.assertIn("tulp: 5 tasks\n", text)
                self.assertRegex(text, r"task 'deep', \d+\.\d{3} s old, waits for the event 0x")
                self.assertEqual(len(re.findall(r"stuck\.cpp:\d+ \(.*wait_at_the_bottom", text)), 6)
                self.assertRegex(text, r"task 'waiter', .*, held by task 'holder'\n")
                self.assertRegex(text, r"task 'sleeper', .* waits for its timer, 3\d\d\d\.\d{3} s left\n")
            self.assertIsNone(program.process.poll())

    def test_a_watchdog_shows_what_holds_up_the_loop_while_it_does(self):
        for what, who in (("block", "task 'busy', created at stuck.cpp:"), ("block-callback", "a callback\n")):
            with Stuck(what, TULP_WATCHDOG="100") as program:
                self.assertEqual(program.process.stdout.readline(), b"ready\n")
                text = program.read_errors_until(rb"compute\(\)\)\n")
                self.assertIn("held up for more than 0.1 s by " + who, text)
                time.sleep(0.3)   # it computes still, until its standard input ends
                rest = program.process.communicate(timeout=60)[1].decode()
                self.assertNotIn("held up", rest)   # once
                self.assertEqual(program.process.returncode, 0)

    def test_a_watchdog_says_nothing_of_a_program_that_does_not_block(self):
        self.assertEqual(stuck("thread", TULP_WATCHDOG="500"), "")   # more than a busy machine takes the processor away

    def test_settings_that_make_no_sense_end_in_one_line(self):
        for name in ("TULP_WATCHDOG", "TULP_SPIN", "TULP_DUMP_SIGNAL"):
            done = subprocess.run([STUCK, "thread"], env={**os.environ, name: "nonsense"}, capture_output=True, timeout=60,
                                  check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr.decode(), rf"\Aerror: {name}: .*nonsense.*\n\Z")


if __name__ == "__main__":
    unittest.main()
