// You learn: a client that outlives its server: what was asked when a connection broke is asked again on a new one.
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

/// Talks to cachesvr.  Each method parks until it has an answer.
class CacheClient {
 public:
  CacheClient(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port) {}

  std::optional<std::string> get(const std::string& key) { return ask("get " + key + '\n'); }
  void set(const std::string& key, const std::string& value) {
    ask("set " + key + ' ' + std::to_string(value.size()) + '\n' + value);
  }

 private:
  /// The value, or nothing.  Both requests may be repeated, so that it does not matter when a connection broke.
  std::optional<std::string> ask(const std::string& request) {
    for (std::chrono::milliseconds pause = 20ms;; pause *= 2) {
      try {
        return ask_once(request);
      } catch (const std::runtime_error& error) {  // the connection, or a time limit
        if (pause > 5s) throw;
        std::cerr << error.what() << "; once more in " << pause.count() << " ms\n";
      }
      connection_.reset();
      tulp::sleep(pause);
    }
  }

  std::optional<std::string> ask_once(const std::string& request) {
    if (!connection_) {
      connection_ = tulp::open_connection(host_, port_, {.timeout = 5s});
      connection_->reader.set_read_timeout(5s);
    }
    connection_->writer.write(request);
    const std::string line = connection_->reader.readuntil("\n");
    if (line == "ok\n" || line == "none\n") return std::nullopt;
    if (!line.starts_with("value ")) throw std::logic_error("the server says " + line);
    return connection_->reader.readexactly(std::stoul(line.substr(6)));
  }

  std::string host_;
  std::uint16_t port_;
  std::optional<tulp::Streams> connection_;
};

void work(CacheClient cache, const std::string& key, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    const std::string value = key + " in round " + std::to_string(round);
    cache.set(key, value);
    if (cache.get(key).value_or(value) != value) throw std::logic_error("that is not what was set");
    tulp::sleep(1ms);
  }
}

void test(const std::string& host, std::uint16_t port, int rounds) {
  std::vector<tulp::Task<>> workers;
  for (const char* key : {"tick", "trick", "track"})
    workers.push_back(tulp::create_task(work, CacheClient(host, port), key, rounds));
  for (const auto& worker : workers) tulp::await(worker);
  std::cout << "all is well" << std::endl;
}

int main(int argc, char** argv) {
  if (argc != 4) return std::cerr << "usage: cacheclt HOST PORT ROUNDS\n", 2;
  return tulp::run_main([&] { test(argv[1], static_cast<std::uint16_t>(std::stoi(argv[2])), std::stoi(argv[3])); });
}
