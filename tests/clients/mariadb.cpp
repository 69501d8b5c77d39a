// MariaDB's client library as it is, in tasks whose libraries park.
//
// usage: client_mariadb SCENARIO SOCKET-PATH [ARGUMENT]
#include <mysql.h>
#include <signal.h>
#include <unistd.h>

#include <memory>

#include "clients/clients.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

namespace {

struct Failure : std::runtime_error {
  Failure(const std::string& message, unsigned its_number) : std::runtime_error(message), number(its_number) {}
  unsigned number;
};

constexpr unsigned query_interrupted = 1317;

using Rows = std::unique_ptr<MYSQL_RES, decltype([](MYSQL_RES* rows) { mysql_free_result(rows); })>;

class Connection {
 public:
  explicit Connection(const std::string& path) : connection_(mysql_init(nullptr)) {
    if (mysql_real_connect(connection_, nullptr, "root", "", "mysql", 0, path.c_str(), 0) != nullptr) return;
    const Failure failure(mysql_error(connection_), mysql_errno(connection_));
    mysql_close(connection_);
    throw failure;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { mysql_close(connection_); }
  operator MYSQL*() const { return connection_; }

  void send(const std::string& text) {
    if (mysql_real_query(connection_, text.data(), text.size()) != 0) fail();
  }
  Rows query(const std::string& text) {
    send(text);
    Rows rows(mysql_store_result(connection_));
    if (rows == nullptr && mysql_errno(connection_) != 0) fail();
    return rows;
  }
  std::string value(const std::string& text) { return mysql_fetch_row(query(text).get())[0]; }
  [[noreturn]] void fail() { throw Failure(mysql_error(connection_), mysql_errno(connection_)); }

 private:
  MYSQL* connection_;
};

void sleeps(const Arguments& arguments) {
  std::vector<std::unique_ptr<Connection>> connections(100);
  timed("connecting 100 times", 60, [&] {
    in_tasks(100,
             [&](int i) { connections[static_cast<std::size_t>(i)] = std::make_unique<Connection>(arguments.at(0)); });
  });
  timed("100 x SLEEP(0.1)", 5, [&] {
    in_tasks(100, [&](int i) {
      expect(connections[static_cast<std::size_t>(i)]->value("SELECT SLEEP(0.1)") == "0", "it sleeps to the end");
    });
  });
}

/// Several MB each, whole and row by row.
void large(const Arguments& arguments) {
  timed("large results", 60, [&] {
    in_tasks(8, [&](int) {
      Connection connection(arguments.at(0));
      const std::string query = "SELECT seq, REPEAT(MD5(seq), 30) FROM seq_1_to_5000";
      const Rows whole = connection.query(query);
      expect(mysql_num_rows(whole.get()) == 5000, "all rows come");
      connection.send(query);
      const Rows rows(mysql_use_result(connection));
      int count = 0;
      while (const MYSQL_ROW row = mysql_fetch_row(rows.get())) {
        ++count;
        expect(std::string(row[1]) == mysql_fetch_row(whole.get())[1], "rows are the same");
      }
      expect(count == 5000 && mysql_errno(connection) == 0, "all rows come, one by one");
    });
  });
}

/// KILL QUERY from another task.
void cancel_query(const Arguments& arguments) {
  timed("20 queries killed at the server", 20, [&] {
    in_tasks(20, [&](int) {
      Connection connection(arguments.at(0));
      bool is_over = false;
      auto killer = start([&] {
        while (sleep(100ms), !is_over)  // one that comes before the server has begun is lost
          Connection(arguments.at(0)).query("KILL QUERY " + std::to_string(mysql_thread_id(connection)));
      });
      unsigned number = 0;
      try {
        connection.query("SELECT BENCHMARK(1000000000, 1), SLEEP(60) FROM seq_1_to_10");
      } catch (const Failure& failure) {
        number = failure.number;
      }
      is_over = true;
      await(killer);
      expect(number == query_interrupted, "it was interrupted, and not " + std::to_string(number));
      expect(connection.value("SELECT 7") == "7", "the connection goes on");
    });
  });
}

void cancel_task(const Arguments& arguments) {
  cancel_when_all_wait(20, [&](int, int& waiting_count) {
    Connection connection(arguments.at(0));
    ++waiting_count;
    expect_cancelled([&] { connection.query("SELECT SLEEP(60)"); });
  });
  for (const auto when : {0ms, 1ms, 3ms, 10ms})
    cancel_in_the_middle(5, when,
                         [&](int) { call_until_cancelled([&] { Connection(arguments.at(0)).query("SELECT 1"); }); });
  expect(Connection(arguments.at(0)).value("SELECT 7") == "7", "a new one works");
}

void killed(const Arguments& arguments) {
  std::vector<Task<void>> tasks;
  int waiting_count = 0;
  for (int i = 0; i < 50; ++i)
    tasks.push_back(start([&] {
      Connection connection(arguments.at(0));
      ++waiting_count;
      try {
        connection.query("SELECT SLEEP(60)");
      } catch (const Failure& failure) {
        expect(failure.number == 2013 || failure.number == 2006, "the server is lost: " + std::string(failure.what()));
        return;
      }
      throw std::runtime_error("a dead server has answered");
    }));
  while (waiting_count < 50) sleep(10ms);
  sleep(100ms);
  expect(::kill(std::stoi(arguments.at(1)), SIGKILL) == 0, "it is killed");
  timed("50 connections hear of the kill", 10, [&] {
    for (const auto& task : tasks) await(Future<void>(task));
  });
}

void many(const Arguments& arguments) {
  const int count = std::stoi(arguments.at(1));
  timed("100 x " + arguments[1] + " queries", 1000, [&] {
    in_tasks(100, [&](int number) {
      Connection connection(arguments.at(0));
      for (int i = 0; i < count; ++i) {
        const std::string sum = std::to_string(number) + " + " + std::to_string(i);
        expect(connection.value("SELECT " + sum) == std::to_string(number + i), sum);
      }
    });
  });
}

}  // namespace

int main(int count, char** arguments) {
  mysql_library_init(0, nullptr, nullptr);
  return run_scenario(count, arguments,
                      {{"sleeps", sleeps},
                       {"large", large},
                       {"cancel-query", cancel_query},
                       {"cancel-task", cancel_task},
                       {"killed", killed},
                       {"many", many}});
}
