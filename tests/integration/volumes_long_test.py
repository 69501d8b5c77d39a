"""A gigabyte through a slow reader in bounded memory, and ten thousand connections that are open and exchange at once:
over both families, with streams and with protocols, where tulp serves and where it connects."""
import unittest

from volumes import SERVERS, crowd_at_once, echo_much, exchange_at_once, relay_much

FAMILIES = "tcp", "unix"
TOTAL_BYTES = 1 << 30


class SlowReaders(unittest.TestCase):
    def test_servers(self):
        for family in FAMILIES:
            for program in SERVERS:
                with self.subTest(family=family, program=program):
                    echo_much(family, program, TOTAL_BYTES)

    def test_clients(self):
        for family in FAMILIES:
            for form in "stream", "protocol":
                with self.subTest(family=family, form=form):
                    relay_much(family, form, TOTAL_BYTES)


class Connections(unittest.TestCase):
    def test_ten_thousand_at_once(self):
        for family in FAMILIES:
            for program in SERVERS:
                with self.subTest(family=family, program=program):
                    exchange_at_once(family, program, 10_000)
                    crowd_at_once(family, program, 10_000)


if __name__ == "__main__":
    unittest.main()
