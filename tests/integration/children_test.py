"""Children in numbers, in short: none is lost, nothing leaks, and the parent's size does not matter."""
import unittest

from children import pass_through, start_from_large_parent, start_many


class Children(unittest.TestCase):
    def test_many(self):
        start_many(300, 30)

    def test_much(self):
        pass_through(64 << 20, 64 * 1024)

    def test_large_parent(self):
        start_from_large_parent(256 << 20)


if __name__ == "__main__":
    unittest.main()
