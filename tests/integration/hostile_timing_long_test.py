"""As hostile_timing_test.py with more and longer conversations, each time others.  TULP_SEED repeats them."""
import asyncio
import os
import random
import unittest

from hostile import run_clients, run_servers

ROUNDS = 5


class HostileTiming(unittest.TestCase):
    def repeat(self, run, **options):
        seed = os.environ.get("TULP_SEED")
        seeds = [int(seed)] if seed else random.sample(range(1, 1_000_000), ROUNDS)
        held = sum(asyncio.run(run(seed, most=200_000, conversations=8, **options)) for seed in seeds)
        print(f"{held} conversations in {run.__name__} {options}, seeds {seeds}")

    def test_servers(self):
        self.repeat(run_servers)

    def test_servers_that_are_stopped_now_and_then(self):
        self.repeat(run_servers, stops=True)

    def test_clients(self):
        self.repeat(run_clients)


if __name__ == "__main__":
    unittest.main()
