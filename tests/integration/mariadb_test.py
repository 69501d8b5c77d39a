"""MariaDB's client library in a hundred tasks of one thread, against a real server: queries, KILL QUERY, a server that is
killed."""
import unittest

from clients import ClientTest, client, mariadb

run = client("mariadb")


class MariaDb(ClientTest):
    def test_a_hundred_tasks(self):
        with mariadb() as (path, server):
            self.run_scenarios(run, [path], "sleeps", "large", "cancel-query", "cancel-task")
            self.run_scenarios(run, [path, server.pid], "killed")


if __name__ == "__main__":
    unittest.main()
