"""Byte streams survive hostile timing and rude peers: a few conversations of each kind, always the same ones."""
import asyncio
import unittest

from hostile import run_clients, run_servers

SEED = 1


class HostileTiming(unittest.TestCase):
    def test_servers(self):
        asyncio.run(run_servers(SEED, most=40_000, conversations=3))

    def test_clients(self):
        asyncio.run(run_clients(SEED, most=40_000, conversations=2))


if __name__ == "__main__":
    unittest.main()
