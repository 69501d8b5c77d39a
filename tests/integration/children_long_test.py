"""Children in numbers: ten thousand, a hundred at a time, beside asyncio and xargs; a gigabyte through `cat` in bounded
memory; and starts from a parent with four gigabytes in use."""
import unittest

from children import available_bytes, pass_through, start_from_large_parent, start_many


class Children(unittest.TestCase):
    def test_ten_thousand(self):
        start_many(10_000, 100)

    def test_a_gigabyte(self):
        pass_through(1 << 30, 64 * 1024)   # most of which is a sanitizer's, if there is one

    def test_large_parent(self):
        start_from_large_parent(min(4 << 30, available_bytes() // 2))


if __name__ == "__main__":
    unittest.main()
