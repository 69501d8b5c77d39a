// A key-value store, a thread for each connection: the ported program.  docs/porting.md
//
// A line a command, and a line an answer:
//   SET key value          OK
//   GET key                VALUE value, or NONE
//   DEL key                OK, or NONE
//   WAIT key milliseconds  VALUE value as soon as there is one, or NONE when the time is over
//   COUNT                  how many keys there are
//   QUIT                   BYE, and the connection ends
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <tulp/condition_variable.hpp>
#include <tulp/mutex.hpp>
#include <tulp/posix.hpp>
#include <tulp/run.hpp>
#include <tulp/thread.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace {

constexpr std::size_t longest_line_bytes = 64 * 1024;

/// What all connections share.
class Store {
 public:
  void set(const std::string& key, std::string value) {
    {
      const std::lock_guard guard(mutex_);
      values_[key] = std::move(value);
    }
    change_.notify_all();
  }

  std::optional<std::string> get(const std::string& key) {
    const std::lock_guard guard(mutex_);
    return find(key);
  }

  bool remove(const std::string& key) {
    const std::lock_guard guard(mutex_);
    return values_.erase(key) > 0;
  }

  std::optional<std::string> wait(const std::string& key, std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    change_.wait_for(lock, limit, [&] { return values_.count(key) > 0; });
    return find(key);
  }

  std::size_t count() {
    const std::lock_guard guard(mutex_);
    return values_.size();
  }

 private:
  std::optional<std::string> find(const std::string& key) const {
    const auto found = values_.find(key);
    return found != values_.end() ? std::optional(found->second) : std::nullopt;
  }

  tulp::mutex mutex_;
  tulp::condition_variable change_;
  std::map<std::string, std::string> values_;
};

/// A socket, read line by line.
class Connection {
 public:
  explicit Connection(int sock) : sock_(sock) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(sock_); }

  /// False at the end, or if the line is too long.
  bool read_line(std::string& line) {
    for (;;) {
      if (const auto end = received_.find('\n'); end != received_.npos) {
        line = received_.substr(0, end);
        received_.erase(0, end + 1);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        return true;
      }
      if (received_.size() > longest_line_bytes) return false;
      char piece[4096];
      const ssize_t size = recv(sock_, piece, sizeof piece, 0);
      if (size <= 0) return false;
      received_.append(piece, static_cast<std::size_t>(size));
    }
  }

  bool write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = send(sock_, text.data(), text.size(), MSG_NOSIGNAL);
      if (size <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
  }

 private:
  int sock_;
  std::string received_;
};

std::string answer_to(const std::optional<std::string>& value) { return value ? "VALUE " + *value : "NONE"; }

std::string answer(Store& store, const std::string& line) {
  std::istringstream words(line);
  std::string command, key;
  words >> command >> key;
  if (command == "COUNT") return std::to_string(store.count());
  if (key.empty()) return "ERROR what?";
  if (command == "GET") return answer_to(store.get(key));
  if (command == "DEL") return store.remove(key) ? "OK" : "NONE";
  if (command == "SET") {
    std::string value;
    std::getline(words >> std::ws, value);
    store.set(key, value);
    return "OK";
  }
  if (command == "WAIT") {
    std::uint32_t limit = 0;
    if (!(words >> limit)) return "ERROR how long?";
    return answer_to(store.wait(key, std::chrono::milliseconds(limit)));
  }
  return "ERROR what?";
}

void serve(Store& store, int sock) {
  Connection connection(sock);
  for (std::string line; connection.read_line(line);) {
    if (line == "QUIT") {
      connection.write("BYE\n");
      return;
    }
    if (!connection.write(answer(store, line) + "\n")) return;
  }
}

int listen_on(std::uint16_t port) {
  const int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(sock, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(sock, SOMAXCONN) != 0 ||
      getsockname(sock, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("listen");
    std::exit(1);
  }
  std::printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return sock;
}

/// As many descriptors as the system lets us have.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int serve_all(std::uint16_t port) {
  Store store;
  const int listener = listen_on(port);
  for (;;) {
    const int sock = accept(listener, nullptr, nullptr);
    if (sock < 0) {
      std::perror("accept");
      tulp::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    const int on = 1;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    tulp::thread(serve, std::ref(store), sock).detach();
  }
}

}  // namespace

int main(int argc, char** argv) {
  raise_descriptor_limit();
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  return tulp::run_main([&] {
    const tulp::posix::BlockingCallsScope parks(tulp::park);
    return serve_all(port);
  });
}
