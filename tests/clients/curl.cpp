// libcurl's easy interface as it is, in tasks whose libraries park.
//
// usage: client_curl SCENARIO URL CERTIFICATE-OF-THE-AUTHORITY [ARGUMENT]
#include <curl/curl.h>
#include <signal.h>
#include <unistd.h>

#include <memory>

#include "clients/clients.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

namespace {

struct Failure : std::runtime_error {
  explicit Failure(CURLcode its_code) : std::runtime_error(curl_easy_strerror(its_code)), code(its_code) {}
  CURLcode code;
};

/// One transfer at a time, with whatever connection it has kept.
class Client {
 public:
  explicit Client(const Arguments& arguments) : base_(arguments.at(0)), handle_(curl_easy_init()) {
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CAINFO, arguments.at(1).c_str());
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_WRITEDATA, &body_);
    set(
        CURLOPT_WRITEFUNCTION, +[](char* data, std::size_t size, std::size_t count, std::string* into) {
          into->append(data, size * count);
          return size * count;
        });
  }
  template <class Value>
  void set(CURLoption option, Value value) {
    curl_easy_setopt(handle_.get(), option, value);
  }
  std::string get(const std::string& path) {
    body_.clear();
    set(CURLOPT_URL, (base_ + path).c_str());
    if (const CURLcode code = curl_easy_perform(handle_.get()); code != CURLE_OK) throw Failure(code);
    return body_;
  }
  long information(CURLINFO what) const {
    long value = 0;
    curl_easy_getinfo(handle_.get(), what, &value);
    return value;
  }

 private:
  std::string base_, body_;
  std::unique_ptr<CURL, decltype([](CURL* handle) { curl_easy_cleanup(handle); })> handle_;
};

/// A server behind the server takes 100 ms for each; a redirect leads there.
void slow(const Arguments& arguments) {
  std::vector<std::unique_ptr<Client>> clients(100);
  timed("100 connections", 60, [&] {
    in_tasks(100, [&](int i) {
      auto& client = clients[static_cast<std::size_t>(i)];
      client = std::make_unique<Client>(arguments);
      expect(client->get("/page.txt") == "hello\n", "the page comes");
    });
  });
  timed("100 transfers of 100 ms, each behind a redirect", 5, [&] {
    in_tasks(100, [&](int i) {
      Client& client = *clients[static_cast<std::size_t>(i)];
      expect(client.get("/to-slow") == "slow\n", "the slow page comes");
      expect(client.information(CURLINFO_REDIRECT_COUNT) == 1, "it was behind a redirect");
      expect(client.information(CURLINFO_RESPONSE_CODE) == 200, "it is there");
    });
  });
}

void large(const Arguments& arguments) {
  timed("large bodies, down and up", 60, [&] {
    in_tasks(8, [&](int) {
      Client client(arguments);
      const std::string body = client.get("/large");
      expect(body.size() == 5'000'000, "all has come");
      client.set(CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
      client.set(CURLOPT_POSTFIELDS, body.data());
      expect(client.get("/count") == std::to_string(body.size()), "all has been sent");
    });
  });
}

CURLcode code_of(Client& client, const std::string& path) {
  try {
    client.get(path);
  } catch (const Failure& failure) {
    return failure.code;
  }
  return CURLE_OK;
}

void timeouts(const Arguments& arguments) {
  timed("20 transfers that the client ends after 200 ms", 5, [&] {
    in_tasks(20, [&](int) {
      Client client(arguments);
      client.get("/page.txt");
      client.set(CURLOPT_TIMEOUT_MS, 200L);
      expect(code_of(client, "/never") == CURLE_OPERATION_TIMEDOUT, "it is late");
      client.set(CURLOPT_TIMEOUT_MS, 0L);
      expect(client.get("/page.txt") == "hello\n", "the handle is of use");
    });
  });
}

void cancel_task(const Arguments& arguments) {
  cancel_when_all_wait(20, [&](int, int& waiting_count) {
    Client client(arguments);
    client.get("/page.txt");
    ++waiting_count;
    expect_cancelled([&] { client.get("/never"); });
  });
  for (const auto when : {0ms, 1ms, 3ms, 10ms, 30ms})
    cancel_in_the_middle(5, when, [&](int) { call_until_cancelled([&] { Client(arguments).get("/page.txt"); }); });
  expect(Client(arguments).get("/page.txt") == "hello\n", "a new one works");
}

void killed(const Arguments& arguments) {
  std::vector<Task<void>> tasks;
  int waiting_count = 0;
  for (int i = 0; i < 50; ++i)
    tasks.push_back(start([&] {
      Client client(arguments);
      client.get("/page.txt");
      ++waiting_count;
      const CURLcode code = code_of(client, "/never");
      expect(code != CURLE_OK && code != CURLE_OPERATION_TIMEDOUT, "the transfer fails");
    }));
  while (waiting_count < 50) sleep(10ms);
  sleep(100ms);
  expect(::kill(std::stoi(arguments.at(2)), SIGKILL) == 0, "it is killed");
  timed("50 connections hear of the kill", 10, [&] {
    for (const auto& task : tasks) await(Future<void>(task));
  });
}

void many(const Arguments& arguments) {
  const int count = std::stoi(arguments.at(2));
  timed("100 x " + arguments[2] + " transfers", 1000, [&] {
    in_tasks(100, [&](int) {
      Client client(arguments);
      for (int i = 0; i < count; ++i) expect(client.get("/page.txt") == "hello\n", "the page comes");
    });
  });
}

}  // namespace

int main(int count, char** arguments) {
  ::signal(SIGPIPE, SIG_IGN);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  return run_scenario(count, arguments,
                      {{"slow", slow},
                       {"large", large},
                       {"timeouts", timeouts},
                       {"cancel-task", cancel_task},
                       {"killed", killed},
                       {"many", many}});
}
