"""libpq in a hundred tasks of one thread, against a real PostgreSQL: queries, TLS, COPY, cancellation, a server that is
killed."""
import unittest

from clients import ClientTest, client, postgres

run = client("postgres")


class Postgres(ClientTest):
    def test_a_hundred_tasks(self):
        with postgres() as (by_socket, by_tcp, server):
            self.run_scenarios(run, [by_socket], "sleeps", "large", "copy", "cancel-query", "cancel-task", "notify")
            self.run_scenarios(run, [by_tcp], "encrypted", "cancel-task")
            self.run_scenarios(run, [by_socket], "killed")   # the process of one connection; the server ends the others
            self.wait_for_recovery(by_socket)
            self.run_scenarios(run, [by_socket, server.pid], "killed")

    def wait_for_recovery(self, where):
        for _ in range(100):
            try:
                run("notify", where)
                return
            except AssertionError:
                continue
        self.fail("the server has not recovered")


if __name__ == "__main__":
    unittest.main()
