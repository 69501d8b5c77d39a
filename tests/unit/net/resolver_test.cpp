#include "net/resolver.hpp"

#include <arpa/inet.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

std::vector<Address> resolve(const std::string& host, std::uint16_t port = 80, AddressInfoOptions options = {}) {
  if (options.type == 0) options.type = SOCK_STREAM;
  return detail::resolve(host, port, options);
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
    auto lookup = create_task([] { return resolve("slow.example"); });
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
    auto lookup = create_task([] { return resolve("slow.example"); });
    auto connecting = create_task([] { open_connection("other.example", 80); });
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
    create_task([] { resolve("slow.example"); });
    let_others_run(3);
    names.wait_until_asked(1);
  });
  loop().close();
  CHECK(std::chrono::steady_clock::now() - before < 5s);
}

TEST_CASE_METHOD(NetTest, "the loop closes with idle resolver threads, which end") {
  SlowNames names;
  run([&] { CHECK(resolve("quick.example").size() == 1); });
  loop().close();
  wait_for_threads(names.threads_at_start());
}

TEST_CASE_METHOD(NetTest, "one name server that hangs does not hold up other names") {
  SlowNames names;
  run([&] {
    auto hanging = create_task([] { resolve("slow.example"); });
    let_others_run(3);
    names.wait_until_asked(1);
    for (int i = 0; i < 20; ++i) CHECK(resolve("quick.example").size() == 1);
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
      lookups.push_back(create_task([i] { return resolve(std::to_string(i) + ".example"); }));
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
    CHECK(resolve("127.0.0.1", 7).at(0).to_string() == "127.0.0.1:7");
    CHECK(resolve("::1", 7).at(0).to_string() == "[::1]:7");
    CHECK_THROWS_AS(resolve("::1", 7, {.family = AF_INET}), ResolveError);
  });
}

TEST_CASE_METHOD(NetTest, "resolve asks the system for the names of this machine, and gives no address twice") {
  run([&] {
    const auto addresses = resolve("localhost", 7, {.family = AF_INET});
    REQUIRE(addresses.size() == 1);
    CHECK(addresses[0].to_string() == "127.0.0.1:7");
    const auto all = resolve("", 7, {.flags = AI_PASSIVE});
    CHECK(std::set<Address>(all.begin(), all.end()).size() == all.size());
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "resolve outside a task throws InvalidStateError") {
  CHECK_THROWS_AS(resolve("127.0.0.1"), InvalidStateError);
}

// Many who ask the same.

TEST_CASE_METHOD(NetTest, "thousands who ask for one name at once cost one call of getaddrinfo, and all are answered") {
  SlowNames names;
  run([&] {
    std::vector<Task<std::vector<Address>>> lookups;
    for (int i = 0; i < 2000; ++i) lookups.push_back(create_task([] { return resolve("slow.example"); }));
    let_others_run(3);
    names.wait_until_asked(1);
    names.answer();
    for (auto& lookup : lookups) CHECK(await(lookup).at(0).host() == "127.0.0.7");
    CHECK(names.asked() == 1);
    resolve("slow.example");  // nobody asks any more: it is asked anew
    CHECK(names.asked() == 2);
  });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "the same host with another port, family, type or flag is another question") {
  SlowNames names;
  names.answer();
  std::vector<Future<std::vector<AddressInfo>>> lookups;
  for (const AddressInfoOptions options :
       {AddressInfoOptions{}, {.family = AF_INET}, {.type = SOCK_STREAM}, {.proto = 6}, {.flags = AI_ADDRCONFIG}})
    lookups.push_back(loop().getaddrinfo("name.example", 80, options));
  lookups.push_back(loop().getaddrinfo("name.example", 81));
  lookups.push_back(loop().getaddrinfo("name.example", "81"));  // the same as the one before
  for (auto& lookup : lookups) loop().run_until_complete(lookup);
  CHECK(names.asked() == 6);
  loop().close();
}

TEST_CASE_METHOD(NetTest, "an error reaches everybody who asked") {
  SlowNames names;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return EAI_AGAIN; };
  auto first = loop().getaddrinfo("name.example", 80), second = loop().getaddrinfo("name.example", 80);
  CHECK_THROWS_AS(loop().run_until_complete(first), ResolveError);
  CHECK_THROWS_AS(loop().run_until_complete(second), ResolveError);
  loop().close();
}

TEST_CASE_METHOD(NetTest, "who is cancelled leaves the others their answer") {
  SlowNames names;
  auto first = loop().getaddrinfo("slow.example", 80), second = loop().getaddrinfo("slow.example", 80);
  names.wait_until_asked(1);
  CHECK(first.cancel());
  CHECK_FALSE(first.cancel());
  CHECK(first.cancelled());
  names.answer();
  CHECK(loop().run_until_complete(second).size() == 1);
  CHECK(names.asked() == 1);
  loop().close();
}

TEST_CASE_METHOD(NetTest, "what nobody waits for any more is not asked if it has not begun") {
  SlowNames names;
  std::vector<Future<std::vector<AddressInfo>>> busy;
  for (int i = 0; i < 4; ++i) busy.push_back(loop().getaddrinfo(std::to_string(i) + ".example", 80));
  names.wait_until_asked(4);
  auto first = loop().getaddrinfo("queued.example", 80), second = loop().getaddrinfo("queued.example", 80);
  first.cancel();
  second.cancel();
  names.answer();
  for (auto& lookup : busy) loop().run_until_complete(lookup);
  CHECK(names.asked() == 4);
  CHECK(loop().run_until_complete(loop().getaddrinfo("queued.example", 80)).size() == 1);  // it can be asked again
  loop().close();
}

TEST_CASE_METHOD(NetTest, "a look-up that everybody has left, but which cannot be stopped, serves who asks next") {
  SlowNames names;
  auto first = loop().getaddrinfo("slow.example", 80);
  names.wait_until_asked(1);
  first.cancel();
  auto second = loop().getaddrinfo("slow.example", 80);
  names.answer();
  CHECK(loop().run_until_complete(second).size() == 1);
  CHECK(names.asked() == 1);
  loop().close();
}

TEST_CASE_METHOD(NetTest, "a Future that its owner has given a result of his own keeps it") {
  SlowNames names;
  auto lookup = loop().getaddrinfo("slow.example", 80), other = loop().getaddrinfo("slow.example", 80);
  lookup.set_result({});
  names.answer();
  loop().run_until_complete(other);
  CHECK(lookup.result().empty());
  loop().close();
}

TEST_CASE_METHOD(NetTest, "a Future that outlives its loop stays pending, and can be cancelled") {
  SlowNames names;
  auto running = loop().getaddrinfo("slow.example", 80);
  names.wait_until_asked(1);
  loop().close();
  CHECK_FALSE(running.done());
  CHECK(running.cancel());
  CHECK_THROWS_AS(loop().getaddrinfo("slow.example", 80), InvalidStateError);
}

TEST_CASE_METHOD(NetTest, "time goes on while a look-up hangs that nobody waits for any more") {
  SlowNames names;
  run([&] {
    auto lookup = create_task([] { resolve("slow.example"); });
    let_others_run(2);
    names.wait_until_asked(1);
    lookup.cancel();
    sleep(1ms);
    auto again = create_task([] { return resolve("slow.example"); });
    let_others_run(2);
    names.answer();
    CHECK(await(again).size() == 1);
    sleep(1ms);
  });
  CHECK_FALSE(loop().is_expecting_post());
  loop().close();
}

// Threads.

TEST_CASE_METHOD(NetTest, "without a thread a look-up fails with the reason, and the next one tries again") {
  SlowNames names;
  names.answer();
  const auto create = std::exchange(sys.pthread_create,
                                    [](pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) { return EAGAIN; });
  run([] {
    try {
      resolve("name.example");
      FAIL("it was resolved without a thread");
    } catch (const OsError& error) {
      CHECK(error.code().value() == EAGAIN);
    }
  });
  sys.pthread_create = create;
  run([] { CHECK(resolve("name.example").size() == 1); });
  loop().close();
}

TEST_CASE_METHOD(NetTest, "where no further thread is to be had, those that are there do the work") {
  SlowNames names;
  auto first = loop().getaddrinfo("slow.example", 80);
  names.wait_until_asked(1);
  sys.pthread_create = [](pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) { return EAGAIN; };
  auto second = loop().getaddrinfo("other.example", 80);
  names.answer();
  loop().run_until_complete(first);
  CHECK(loop().run_until_complete(second).size() == 1);
  loop().close();
}

TEST_CASE("many loops together have a bounded number of resolver threads, and each has one") {
  SlowNames names;
  std::vector<std::unique_ptr<EventLoop>> loops;
  std::vector<Future<std::vector<AddressInfo>>> lookups;
  for (int i = 0; i < 12; ++i) {
    loops.push_back(new_event_loop());
    for (int k = 0; k < 6; ++k) lookups.push_back(loops.back()->getaddrinfo(std::to_string(k) + ".example", 80));
  }
  CHECK(thread_count() == names.threads_at_start() + 8 * 4 + 4 * 1);
#ifndef __SANITIZE_ADDRESS__  // its lock over the threads may be held by one of them at the fork, and hang the child
  const auto child = run_in_child([] {  // has none of these threads
    sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return ::pause(); };
    const auto loop = new_event_loop();
    for (int k = 0; k < 6; ++k) static_cast<void>(loop->getaddrinfo(std::to_string(k) + ".example", 80));
    ::_exit(thread_count() == 1 + 4 ? 0 : 1);
  });
  CHECK(child.exited_with(0));
#endif
  names.answer();
}

TEST_CASE_METHOD(NetTest, "the resolver's threads take no signals") {
  static std::atomic<bool> is_blocked;
  is_blocked = false;
  {
    SlowNames names;
    sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) {
      sigset_t mask;
      ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
      is_blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1;
      return EAI_NONAME;
    };
    run([] { CHECK_THROWS_AS(resolve("name.example"), ResolveError); });
    loop().close();
  }
  CHECK(is_blocked);
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  CHECK(sigismember(&mask, SIGINT) == 0);
}
