"""hiredis in a hundred tasks of one thread, against a real Redis: blocking pops, subscriptions, limits, a server that is
killed."""
import unittest

from clients import ClientTest, client, redis

run = client("redis")


class Redis(ClientTest):
    def test_a_hundred_tasks(self):
        with redis() as (port, path, server):
            self.run_scenarios(run, [port], "pops", "subscribers", "timeouts", "large", "cancel-task")
            self.run_scenarios(run, [path], "pops", "timeouts", "large", "cancel-task")
            self.run_scenarios(run, [port, server.pid], "killed")


if __name__ == "__main__":
    unittest.main()
