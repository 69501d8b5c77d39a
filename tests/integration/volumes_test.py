"""Bounded memory and many connections, as volumes_long_test.py has them, in a small edition."""
import unittest

from volumes import SERVERS, crowd_at_once, echo_much, exchange_at_once, relay_much

TOTAL_BYTES = 64 << 20


class SlowReaders(unittest.TestCase):
    def test_servers(self):
        for program in SERVERS:
            with self.subTest(program):
                echo_much("tcp", program, TOTAL_BYTES)

    def test_clients(self):
        for form in "stream", "protocol":
            with self.subTest(form):
                relay_much("tcp", form, TOTAL_BYTES)


class Connections(unittest.TestCase):
    def test_a_thousand_at_once(self):
        for program in SERVERS:
            with self.subTest(program):
                exchange_at_once("tcp", program, 1000)
                crowd_at_once("tcp", program, 1000)


if __name__ == "__main__":
    unittest.main()
