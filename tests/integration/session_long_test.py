"""Interactive sessions through tulp proxy, of twenty thousand keys each."""
import unittest

from sessions import PLACES_OF_TLS, hold_session
from tls_peers import certificates


class Sessions(unittest.TestCase):
    def test_keys_are_echoed_at_once_and_pauses_do_no_harm(self):
        with certificates() as folder:
            for seed, places in enumerate(PLACES_OF_TLS):
                with self.subTest(places):
                    hold_session(folder, places, keys=20_000, pauses=15, seed=seed)


if __name__ == "__main__":
    unittest.main()
