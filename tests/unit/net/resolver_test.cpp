#include "net/resolver.hpp"

#include <arpa/inet.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;
using tulp::detail::resolve;

namespace {

std::size_t thread_count() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

void wait_for_threads(std::size_t count) {
  for (int i = 0; i < 10'000 && thread_count() > count; ++i) std::this_thread::sleep_for(1ms);
  CHECK(thread_count() <= count);
}

/// A name server that answers when it is told to.  At the end it answers all, and its threads are gone.
class SlowNames {
 public:
  SlowNames() {
    state() = {};
    sys.getaddrinfo = [](const char* host, const char* service, const addrinfo*, addrinfo** found) {
      std::unique_lock lock(mutex());
      ++state().asked;
      state().asking.notify_all();
      state().answer.wait(lock, [host] { return state().is_open || host[0] == 'q'; });  // "quick.example" is
      ++state().answered;
      lock.unlock();
      addrinfo hints{};
      hints.ai_flags = AI_NUMERICHOST;
      hints.ai_socktype = SOCK_STREAM;
      return ::getaddrinfo("127.0.0.7", service, &hints, found);
    };
  }
  ~SlowNames() {
    answer();
    wait_for_threads(threads_at_start_);
  }
  void answer() {
    const std::lock_guard lock(mutex());
    state().is_open = true;
    state().answer.notify_all();
  }
  /// Blocks this thread until so many have asked.
  void wait_until_asked(int times) {
    std::unique_lock lock(mutex());
    CHECK(state().asking.wait_for(lock, 10s, [&] { return state().asked >= times; }));
  }
  int asked() {
    const std::lock_guard lock(mutex());
    return state().asked;
  }
  std::size_t threads_at_start() const { return threads_at_start_; }

 private:
  struct State {
    State() = default;
    State& operator=(const State&) {
      is_open = false;
      asked = answered = 0;
      return *this;
    }
    bool is_open = false;
    int asked = 0, answered = 0;
    std::condition_variable asking, answer;
  };
  static State& state() {
    static State one;
    return one;
  }
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  PatchedSystem patched_;
  std::size_t threads_at_start_ = thread_count();
};

}  // namespace

TEST_CASE_METHOD(NetTest, "while a name is looked up other tasks go on") {
  SlowNames names;
  run([&] {
    auto lookup = create_task([] { return resolve({.host = "slow.example", .port = 80}); });
    let_others_run(2);
    names.wait_until_asked(1);
    int turns = 0;
    for (; turns < 100; ++turns) sleep(0s);
    CHECK_FALSE(lookup.done());
    names.answer();
    const auto addresses = await(lookup);
    REQUIRE(addresses.size() == 1);
    CHECK(addresses[0].to_string() == "127.0.0.7:80");
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "cancelling returns at once while getaddrinfo still hangs") {
  SlowNames names;
  run([&] {
    auto lookup = create_task([] { return resolve({.host = "slow.example", .port = 80}); });
    auto connecting = create_task([] { open_connection("slow.example", 80); });
    let_others_run(3);
    names.wait_until_asked(2);
    lookup.cancel();
    connecting.cancel();
    let_others_run(4);
    CHECK(lookup.cancelled());
    CHECK(connecting.cancelled());
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "the loop closes though a lookup hangs, and what it finds later is dropped") {
  SlowNames names;
  const auto before = std::chrono::steady_clock::now();
  run([&] {
    create_task([] { resolve({.host = "slow.example", .port = 80}); });
    let_others_run(3);
    names.wait_until_asked(1);
  });
  loop().close();
  CHECK(std::chrono::steady_clock::now() - before < 5s);
}

TEST_CASE_METHOD(NetTest, "the loop closes with idle resolver threads, which end") {
  SlowNames names;
  run([&] { CHECK(resolve({.host = "quick.example", .port = 1}).size() == 1); });
  loop().close();
  wait_for_threads(names.threads_at_start());
}

TEST_CASE_METHOD(NetTest, "one name server that hangs does not hold up other names") {
  SlowNames names;
  run([&] {
    auto hanging = create_task([] { resolve({.host = "slow.example", .port = 80}); });
    let_others_run(3);
    names.wait_until_asked(1);
    for (int i = 0; i < 20; ++i) CHECK(resolve({.host = "quick.example", .port = 1}).size() == 1);
    CHECK_FALSE(hanging.done());
    hanging.cancel();
    CHECK_THROWS_AS(await(hanging), FutureCancelledError);
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "a hundred lookups at once are all answered, by few threads") {
  SlowNames names;
  run([&] {
    std::vector<Task<std::vector<Address>>> lookups;
    for (int i = 0; i < 100; ++i)
      lookups.push_back(create_task([i] { return resolve({.host = std::to_string(i) + ".example", .port = 80}); }));
    let_others_run(3);
    names.wait_until_asked(4);
    CHECK(thread_count() <= names.threads_at_start() + 4);
    names.answer();
    for (auto& lookup : lookups) CHECK(await(lookup).size() == 1);
    CHECK(names.asked() == 100);
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "resolve gives numeric addresses as they are, and refuses them for another family") {
  run([&] {
    CHECK(resolve({.host = "127.0.0.1", .port = 7}).at(0).to_string() == "127.0.0.1:7");
    CHECK(resolve({.host = "::1", .port = 7}).at(0).to_string() == "[::1]:7");
    CHECK_THROWS_AS(resolve({.host = "::1", .port = 7, .family = AF_INET}), ResolveError);
  });
}

TEST_CASE_METHOD(NetTest, "resolve asks the system for the names of this machine, and gives no address twice") {
  run([&] {
    const auto addresses = resolve({.host = "localhost", .port = 7, .family = AF_INET});
    REQUIRE(addresses.size() == 1);
    CHECK(addresses[0].to_string() == "127.0.0.1:7");
    const auto all = resolve({.host = "", .port = 7, .family = AF_UNSPEC, .is_passive = true});
    CHECK(std::set<Address>(all.begin(), all.end()).size() == all.size());
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "resolve outside a task throws InvalidStateError") {
  CHECK_THROWS_AS(resolve({.host = "127.0.0.1", .port = 7}), InvalidStateError);
}
