// hiredis as it is, in tasks whose libraries park.
//
// usage: client_redis SCENARIO PORT|PATH [ARGUMENT]
#include <hiredis/hiredis.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "clients/clients.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

namespace {

struct Failure : std::runtime_error {
  Failure(const std::string& message, int its_errno) : std::runtime_error(message), error(its_errno) {}
  int error;
};

using Reply = std::unique_ptr<redisReply, decltype([](redisReply* reply) { freeReplyObject(reply); })>;

class Connection {
 public:
  explicit Connection(const std::string& where)
      : context_(where.starts_with('/') ? redisConnectUnix(where.c_str())
                                        : redisConnect("localhost", std::stoi(where))) {
    if (context_ == nullptr) throw std::bad_alloc();
    if (context_->err == 0) return;
    const Failure failure(context_->errstr, errno);
    redisFree(context_);
    throw failure;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { redisFree(context_); }
  redisContext* operator->() const { return context_; }
  operator redisContext*() const { return context_; }

  template <class... Arguments>
  Reply command(const char* format, Arguments... arguments) {
    return checked(static_cast<redisReply*>(redisCommand(context_, format, arguments...)));
  }
  Reply next_reply() {
    void* reply = nullptr;
    redisGetReply(context_, &reply);
    return checked(static_cast<redisReply*>(reply));
  }

 private:
  Reply checked(redisReply* reply) {
    if (reply == nullptr) throw Failure(context_->errstr, errno);
    Reply result(reply);
    expect(reply->type != REDIS_REPLY_ERROR, std::string(reply->str != nullptr ? reply->str : ""));
    return result;
  }
  redisContext* context_;
};

std::string text_of(const redisReply& reply) { return {reply.str, reply.len}; }

/// A hundred wait, and what each of them gets is pushed by another task of the same loop.
void pops(const Arguments& arguments) {
  int waiting_count = 0;
  timed("100 blocking pops, answered by another task", 20, [&] {
    auto pusher = start([&] {
      Connection connection(arguments.at(0));
      while (waiting_count < 100) sleep(1ms);
      sleep(50ms);
      for (int i = 0; i < 100; ++i) connection.command("RPUSH pops:%d value-%d", i, i);
    });
    in_tasks(100, [&](int number) {
      Connection connection(arguments.at(0));
      ++waiting_count;
      const Reply reply = connection.command("BLPOP pops:%d 0", number);
      expect(reply->elements == 2 && text_of(*reply->element[1]) == "value-" + std::to_string(number), "it is its own");
    });
    await(pusher);
  });
}

void subscribers(const Arguments& arguments) {
  int listening_count = 0;
  timed("20 subscribers hear 200 messages each", 20, [&] {
    auto publisher = start([&] {
      Connection connection(arguments.at(0));
      while (listening_count < 20) sleep(1ms);
      for (int i = 0; i < 200; ++i)
        expect(connection.command("PUBLISH news %d", i)->integer == 20, "all of them are told");
    });
    in_tasks(20, [&](int) {
      Connection connection(arguments.at(0));
      connection.command("SUBSCRIBE news");
      ++listening_count;
      for (int i = 0; i < 200; ++i)
        expect(text_of(*connection.next_reply()->element[2]) == std::to_string(i), "in their order");
    });
    await(publisher);
  });
}

void timeouts(const Arguments& arguments) {
  timed("100 pops that the server ends after 100 ms", 5, [&] {
    in_tasks(100, [&](int number) {
      const Reply reply = Connection(arguments.at(0)).command("BLPOP none:%d 0.1", number);
      expect(reply->type == REDIS_REPLY_NIL, "nothing came");
    });
  });
  timed("100 pops that the client ends after 100 ms", 5, [&] {
    in_tasks(100, [&](int number) {
      Connection connection(arguments.at(0));
      redisSetTimeout(connection, {0, 100'000});
      int error = 0;
      try {
        connection.command("BLPOP none:%d 0", number);
      } catch (const Failure& failure) {
        error = failure.error;
      }
      expect(error == EAGAIN && connection->err == REDIS_ERR_IO, "it is EAGAIN, and not " + std::to_string(error));
    });
  });
}

void large(const Arguments& arguments) {
  std::string pattern(5'000'000, ' ');
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>(i * 31 % 251);
  timed("values of 5 MB and pipelines of 5000 commands", 60, [&] {
    in_tasks(10, [&](int number) {
      Connection connection(arguments.at(0));
      std::string value = pattern;
      value[0] = static_cast<char>('a' + number);
      connection.command("SET large:%d %b", number, value.data(), value.size());
      expect(text_of(*connection.command("GET large:%d", number)) == value, "it comes back");
      for (int i = 0; i < 5000; ++i) redisAppendCommand(connection, "INCR counter:%d", number);
      for (int i = 0; i < 5000; ++i) expect(connection.next_reply()->integer == i + 1, "each has its answer");
      connection.command("DEL large:%d counter:%d", number, number);
    });
  });
}

void cancel_task(const Arguments& arguments) {
  cancel_when_all_wait(20, [&](int number, int& waiting_count) {
    Connection connection(arguments.at(0));
    ++waiting_count;
    expect_cancelled([&] { connection.command("BLPOP none:%d 0", number); });
  });
  for (const auto when : {0ms, 1ms, 2ms, 5ms})
    cancel_in_the_middle(5, when,
                         [&](int) { call_until_cancelled([&] { Connection(arguments.at(0)).command("PING"); }); });
  expect(text_of(*Connection(arguments.at(0)).command("PING")) == "PONG", "a new one works");
}

void killed(const Arguments& arguments) {
  std::vector<Task<void>> tasks;
  int waiting_count = 0;
  for (int i = 0; i < 100; ++i)
    tasks.push_back(start([&, i] {
      Connection connection(arguments.at(0));
      ++waiting_count;
      try {
        connection.command("BLPOP none:%d 0", i);
      } catch (const Failure&) {
        expect(connection->err == REDIS_ERR_EOF || connection->err == REDIS_ERR_IO, "the connection is gone");
        return;
      }
      throw std::runtime_error("a dead server has answered");
    }));
  while (waiting_count < 100) sleep(10ms);
  sleep(100ms);
  expect(::kill(std::stoi(arguments.at(1)), SIGKILL) == 0, "it is killed");
  timed("100 connections hear of the kill", 10, [&] {
    for (const auto& task : tasks) await(Future<void>(task));
  });
}

void many(const Arguments& arguments) {
  const int count = std::stoi(arguments.at(1));
  timed("100 x " + arguments[1] + " commands", 1000, [&] {
    in_tasks(100, [&](int number) {
      Connection connection(arguments.at(0));
      for (int i = 0; i < count; ++i) {
        const std::string value = std::to_string(number) + "." + std::to_string(i);
        expect(text_of(*connection.command("ECHO %s", value.c_str())) == value, value);
      }
    });
  });
}

}  // namespace

int main(int count, char** arguments) {
  ::signal(SIGPIPE, SIG_IGN);
  return run_scenario(count, arguments,
                      {{"pops", pops},
                       {"subscribers", subscribers},
                       {"timeouts", timeouts},
                       {"large", large},
                       {"cancel-task", cancel_task},
                       {"killed", killed},
                       {"many", many}});
}
