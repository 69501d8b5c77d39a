"""Volumes for C libraries in a hundred tasks of one thread: as many short calls as make a minute, against real servers."""
import unittest

from clients import client, mariadb, postgres, redis


class Volumes(unittest.TestCase):
    def test_postgres(self):
        with postgres() as (by_socket, by_tcp, _):
            client("postgres")("many", by_socket, 3000)
            client("postgres")("many", by_tcp + " sslmode=require", 1000)

    def test_redis(self):
        with redis() as (port, path, _):
            client("redis")("many", port, 10_000)
            client("redis")("many", path, 10_000)

    def test_mariadb(self):
        with mariadb() as (path, _):
            client("mariadb")("many", path, 3000)


if __name__ == "__main__":
    unittest.main()
