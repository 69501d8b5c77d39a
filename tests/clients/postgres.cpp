// libpq as it is, in tasks whose libraries park.
//
// usage: client_postgres SCENARIO CONNECTION [ARGUMENT]    CONNECTION is libpq's, such as "host=/tmp dbname=postgres"
#include <libpq-fe.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "clients/clients.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

namespace {

struct Failure : std::runtime_error {
  Failure(const std::string& message, const char* its_state)
      : std::runtime_error(message), state(its_state != nullptr ? its_state : "") {}
  std::string state;
};

using Result = std::unique_ptr<PGresult, decltype([](PGresult* result) { PQclear(result); })>;

class Connection {
 public:
  explicit Connection(const std::string& information) : connection_(PQconnectdb(information.c_str())) {
    PQsetNoticeProcessor(
        connection_, [](void*, const char*) {}, nullptr);
    if (PQstatus(connection_) == CONNECTION_OK) return;
    const std::string error = PQerrorMessage(connection_);
    PQfinish(connection_);
    throw Failure(error, nullptr);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { PQfinish(connection_); }
  operator PGconn*() const { return connection_; }

  Result query(const std::string& text) { return checked(PQexec(connection_, text.c_str())); }
  std::string value(const std::string& text) { return PQgetvalue(query(text).get(), 0, 0); }
  Result checked(PGresult* got) {
    Result result(got);
    const ExecStatusType status = PQresultStatus(got);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN &&
        status != PGRES_COPY_OUT && status != PGRES_SINGLE_TUPLE)
      throw Failure(PQerrorMessage(connection_), PQresultErrorField(got, PG_DIAG_SQLSTATE));
    return result;
  }

 private:
  PGconn* connection_;
};

/// So many tasks, each with its own connection, and all connected when the time begins.
template <class F>
void with_connections(int count, const std::string& where, const std::string& what, double limit, F body) {
  std::vector<std::unique_ptr<Connection>> connections(static_cast<std::size_t>(count));
  timed("connecting " + std::to_string(count) + " times", 60, [&] {
    in_tasks(count, [&](int i) { connections[static_cast<std::size_t>(i)] = std::make_unique<Connection>(where); });
  });
  timed(what, limit, [&] { in_tasks(count, [&](int i) { body(*connections[static_cast<std::size_t>(i)], i); }); });
}

void sleeps(const Arguments& arguments) {
  const std::size_t before = open_descriptor_count();
  with_connections(100, arguments.at(0), "100 x pg_sleep(0.1)", 5,
                   [](Connection& connection, int) { connection.query("select pg_sleep(0.1)"); });
  expect(open_descriptor_count() <= before + 1, "connections are closed");  // the loop's own timer
}

void encrypted(const Arguments& arguments) {
  with_connections(
      100, arguments.at(0) + " sslmode=require", "100 x pg_sleep(0.1) over TLS", 5, [](Connection& connection, int) {
        expect(PQsslInUse(connection) == 1, "TLS is in use");
        connection.query("select pg_sleep(0.1)");
        expect(connection.value("select repeat('x', 50000)") == std::string(50'000, 'x'), "it comes whole");
      });
}

/// Several MB each, whole and row by row.
void large(const Arguments& arguments) {
  const char* const query = "select i, repeat(md5(i::text), 30) from generate_series(1, 5000) i";
  with_connections(8, arguments.at(0), "large results", 60, [&](Connection& connection, int) {
    const Result whole = connection.query(query);
    expect(PQntuples(whole.get()) == 5000, "all rows come");
    std::size_t rows = 0;
    expect(PQsendQuery(connection, query) == 1 && PQsetSingleRowMode(connection) == 1, "row by row");
    while (PGresult* const next = PQgetResult(connection)) {
      const Result row = connection.checked(next);
      if (PQntuples(row.get()) == 0) continue;
      expect(std::strcmp(PQgetvalue(row.get(), 0, 1), PQgetvalue(whole.get(), static_cast<int>(rows), 1)) == 0,
             "rows are the same");
      ++rows;
    }
    expect(rows == 5000, "all rows come, one by one");
  });
}

void copy(const Arguments& arguments) {
  with_connections(8, arguments.at(0), "copy in and out", 60, [](Connection& connection, int number) {
    constexpr int count = 20'000;
    const auto line = [&](int i) {
      return std::to_string(i) + "\t" + std::string(static_cast<std::size_t>(i % 100), 'a') + std::to_string(number) +
             "\n";
    };
    connection.query("create temporary table t (i int, s text)");
    connection.query("copy t from stdin");
    for (int i = 0; i < count; ++i) {
      const std::string row = line(i);
      expect(PQputCopyData(connection, row.data(), static_cast<int>(row.size())) == 1, "a row goes out");
    }
    expect(PQputCopyEnd(connection, nullptr) == 1, "all have gone out");
    while (PGresult* const next = PQgetResult(connection)) connection.checked(next);
    expect(connection.value("select count(*) from t") == std::to_string(count), "all rows are there");
    connection.query("copy (select * from t order by i) to stdout");
    char* got = nullptr;
    int rows = 0;
    for (int size = 0; (size = PQgetCopyData(connection, &got, 0)) > 0; ++rows) {
      expect(std::string(got, static_cast<std::size_t>(size)) == line(rows),
             "row " + std::to_string(rows) + " comes back: " + got);
      PQfreemem(got);
    }
    expect(rows == count, "all rows come back");
    while (PGresult* const next = PQgetResult(connection)) connection.checked(next);
    expect(connection.value("select 7") == "7", "the connection goes on");
  });
}

/// PQcancel() from another task.
void cancel_query(const Arguments& arguments) {
  timed("20 queries cancelled at the server", 20, [&] {
    in_tasks(20, [&](int) {
      Connection connection(arguments.at(0));
      bool is_over = false;
      auto canceller = start([&] {
        const std::unique_ptr<PGcancel, decltype([](PGcancel* cancel) { PQfreeCancel(cancel); })> cancel(
            PQgetCancel(connection));
        while (sleep(100ms), !is_over) {  // one that comes before the server has begun is lost
          char error[256] = "";
          expect(PQcancel(cancel.get(), error, sizeof error) == 1, error);
        }
      });
      std::string state;
      try {
        connection.query("select pg_sleep(60)");
      } catch (const Failure& failure) {
        state = failure.state;
      }
      is_over = true;
      await(canceller);
      expect(state == "57014", "the query was cancelled, and not " + state);
      expect(connection.value("select 7") == "7", "the connection goes on");
    });
  });
}

/// The task is cancelled, and libpq has to give up.
void cancel_task(const Arguments& arguments) {
  cancel_when_all_wait(20, [&](int, int& waiting_count) {
    Connection connection(arguments.at(0));
    ++waiting_count;
    expect_cancelled([&] { connection.query("select pg_sleep(60)"); });
  });
  for (const auto when : {0ms, 1ms, 3ms, 10ms, 30ms})  // somewhere while it connects
    cancel_in_the_middle(5, when,
                         [&](int) { call_until_cancelled([&] { Connection(arguments.at(0)).query("select 1"); }); });
  timed("and others go on", 20, [&] {
    in_tasks(5, [&](int) { expect(Connection(arguments.at(0)).value("select 7") == "7", "a new one works"); });
  });
}

/// A listener is woken by a notification of another task; poll() is the program's own.
void notify(const Arguments& arguments) {
  with_connections(20, arguments.at(0), "notifications", 20, [&](Connection& connection, int number) {
    const std::string channel = "channel" + std::to_string(number);
    connection.query("listen " + channel);
    auto teller = start([&] {
      sleep(20ms);
      Connection(arguments.at(0)).query("notify " + channel + ", 'hello'");
    });
    PGnotify* heard = nullptr;
    while ((heard = PQnotifies(connection)) == nullptr) {
      pollfd polled{PQsocket(connection), POLLIN, 0};
      expect(::poll(&polled, 1, 10'000) == 1, "a notification comes");
      expect(PQconsumeInput(connection) == 1, "it is read");
    }
    expect(std::string(heard->extra) == "hello", "it is the one");
    PQfreemem(heard);
    await(teller);
  });
}

/// All hear that the server has been killed: the process that is named, or the one that serves the first connection.
void killed(const Arguments& arguments) {
  std::vector<Task<void>> tasks;
  int waiting_count = 0, served_by = 0;
  for (int i = 0; i < 50; ++i)
    tasks.push_back(start([&] {
      Connection connection(arguments.at(0));
      served_by = PQbackendPID(connection);
      ++waiting_count;
      std::string error;
      try {
        connection.query("select pg_sleep(60)");
      } catch (const Failure& failure) {
        error = failure.what();
      }
      expect(!error.empty(), "the query fails");
      expect(PQstatus(connection) == CONNECTION_BAD, "the connection is gone: " + error);
    }));
  while (waiting_count < 50) sleep(10ms);
  sleep(100ms);
  expect(::kill(arguments.size() > 1 ? std::stoi(arguments[1]) : served_by, SIGKILL) == 0, "it is killed");
  timed("50 connections hear of the kill", 20, [&] {
    for (const auto& task : tasks) await(Future<void>(task));
  });
}

/// As many short queries as are asked for.
void many(const Arguments& arguments) {
  const int count = std::stoi(arguments.at(1));
  with_connections(100, arguments.at(0), "100 x " + arguments[1] + " queries", 1000,
                   [&](Connection& connection, int number) {
                     for (int i = 0; i < count; ++i) {
                       const std::string sum = std::to_string(number) + " + " + std::to_string(i);
                       expect(connection.value("select " + sum) == std::to_string(number + i), sum);
                     }
                   });
}

}  // namespace

int main(int count, char** arguments) {
  return run_scenario(count, arguments,
                      {{"sleeps", sleeps},
                       {"encrypted", encrypted},
                       {"large", large},
                       {"copy", copy},
                       {"cancel-query", cancel_query},
                       {"cancel-task", cancel_task},
                       {"notify", notify},
                       {"killed", killed},
                       {"many", many}});
}
