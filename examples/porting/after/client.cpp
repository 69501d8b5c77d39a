// A client of the key-value store: many workers, each with a connection, that set, get and wait.  The ported
// one.  docs/porting.md
//
// usage: client PORT [WORKERS [ROUNDS]]
//
// Half of the workers set a key and then wait for what their partner answers under another one; the other half wait for that
// key, and answer.  At the end all keys are deleted.  What each worker has seen is checked, and summed up in one line.
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <tulp/mutex.hpp>
#include <tulp/posix.hpp>
#include <tulp/run.hpp>
#include <tulp/thread.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* most_milliseconds = "20000";

/// A connection on which each line that is sent is answered by one.
class Client {
 public:
  explicit Client(const char* port) : sock_(connect_to("127.0.0.1", port)) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(sock_); }

  std::string ask(const std::string& line) {
    write_all(line + "\n");
    return read_line();
  }

 private:
  static int connect_to(const char* host, const char* port) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host, port, &hints, &found); error != 0)
      throw std::runtime_error(gai_strerror(error));
    int sock = -1;
    for (const addrinfo* each = found; each != nullptr && sock < 0; each = each->ai_next) {
      sock = socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
      if (sock >= 0 && connect(sock, each->ai_addr, each->ai_addrlen) != 0) {
        close(sock);
        sock = -1;
      }
    }
    freeaddrinfo(found);
    if (sock < 0) throw std::runtime_error("cannot connect");
    const int on = 1;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return sock;
  }

  void write_all(std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = send(sock_, text.data(), text.size(), MSG_NOSIGNAL);
      if (size <= 0) throw std::runtime_error("the connection broke");
      text.remove_prefix(static_cast<std::size_t>(size));
    }
  }

  std::string read_line() {
    for (;;) {
      if (const auto end = received_.find('\n'); end != received_.npos) {
        std::string line = received_.substr(0, end);
        received_.erase(0, end + 1);
        return line;
      }
      char piece[4096];
      const ssize_t size = recv(sock_, piece, sizeof piece, 0);
      if (size <= 0) throw std::runtime_error("the connection ended");
      received_.append(piece, static_cast<std::size_t>(size));
    }
  }

  int sock_;
  std::string received_;
};

/// What all workers add to.
class Report {
 public:
  void add_answers(std::size_t count) { answer_count_ += count; }
  void add_failure(const std::string& what) {
    const std::lock_guard guard(mutex_);
    ++failure_count_;
    if (first_failure_.empty()) first_failure_ = what;
  }
  int print() {
    const std::lock_guard guard(mutex_);
    std::printf("%zu answers, %zu failures%s%s\n", answer_count_.load(), failure_count_,
                first_failure_.empty() ? "" : ", the first: ", first_failure_.c_str());
    return failure_count_ == 0 ? 0 : 1;
  }

 private:
  std::atomic<std::size_t> answer_count_ = 0;
  tulp::mutex mutex_;
  std::size_t failure_count_ = 0;
  std::string first_failure_;
};

void expect(const std::string& answer, const std::string& expected) {
  if (answer != expected) throw std::runtime_error("got '" + answer + "' instead of '" + expected + "'");
}

std::string key_of(const char* kind, int pair, int round) {
  return std::string(kind) + std::to_string(pair) + ":" + std::to_string(round);
}

/// Sets a key, and waits for the answer under another one.
void question(Client& client, int pair, int round) {
  const std::string key = key_of("question", pair, round);
  expect(client.ask("SET " + key + " how are you"), "OK");
  const std::string answer_key = key_of("answer", pair, round);
  expect(client.ask("WAIT " + answer_key + " " + most_milliseconds), "VALUE fine");
  expect(client.ask("DEL " + answer_key), "OK");
}

void reply(Client& client, int pair, int round) {
  const std::string key = key_of("question", pair, round);
  expect(client.ask("WAIT " + key + " " + most_milliseconds), "VALUE how are you");
  expect(client.ask("DEL " + key), "OK");
  expect(client.ask("SET " + key_of("answer", pair, round) + " fine"), "OK");
}

void work(Report& report, const char* port, int worker, int rounds) {
  try {
    Client client(port);
    for (int round = 0; round < rounds; ++round) {
      if (worker % 2 == 0)
        question(client, worker / 2, round);
      else
        reply(client, worker / 2, round);
      report.add_answers(3);
    }
    expect(client.ask("QUIT"), "BYE");
  } catch (const std::exception& error) {
    report.add_failure(error.what());
  }
}

/// As many descriptors as the system lets us have.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run_workers(const char* port, int count, int rounds) {
  Report report;
  std::vector<tulp::thread> workers;
  for (int i = 0; i < count; ++i) workers.emplace_back(work, std::ref(report), port, i, rounds);
  for (tulp::thread& worker : workers) worker.join();
  return report.print();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: client PORT [WORKERS [ROUNDS]]\n");
    return 2;
  }
  raise_descriptor_limit();
  const int count = argc > 2 ? std::atoi(argv[2]) / 2 * 2 : 10;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 10;
  return tulp::run_main([&] {
    const tulp::posix::BlockingCallsScope parks(tulp::park);
    return run_workers(argv[1], count, rounds);
  });
}
