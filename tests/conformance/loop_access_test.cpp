// Which loop a thread has, and the policy: semantics rows 51 to 54.
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <memory>
#include <thread>

#include "support/hosts.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

TEST_CASE("get_event_loop gives the loop that was set for the thread") {
  const auto loop = new_event_loop();
  set_event_loop(loop.get());
  CHECK(&get_event_loop() == loop.get());
  CHECK(get_running_loop() == nullptr);
  set_event_loop(nullptr);
}

TEST_CASE("inside callbacks and tasks the running loop wins over the one that was set") {
  const auto set = new_event_loop(), running = new_event_loop();
  set_event_loop(set.get());
  running->call_soon([&] {
    CHECK(&get_event_loop() == running.get());
    CHECK(get_running_loop() == running.get());
    create_task([&] {
      CHECK(&get_event_loop() == running.get());
      running->stop();
    });
  });
  running->run_forever();
  CHECK(&get_event_loop() == set.get());
  set_event_loop(nullptr);
}

TEST_CASE("the main thread gets a loop that the policy makes and owns, always the same one") {
  EventLoop& loop = get_event_loop();
  CHECK(&get_event_loop() == &loop);
  CHECK(loop.run_until_complete([] { return 1; }) == 1);
  set_suite_policy();  // a new one: the loop is gone
}

TEST_CASE("another thread has no loop until it sets one: InvalidStateError, never null") {
  std::thread([] {
    CHECK_THROWS_AS(get_event_loop(), InvalidStateError);
    CHECK_THROWS_AS(create_task([] {}), InvalidStateError);
    CHECK_THROWS_AS(Future<int>(), InvalidStateError);
    CHECK_THROWS_AS(all_tasks(), InvalidStateError);
    const auto loop = new_event_loop();
    set_event_loop(loop.get());
    CHECK(&get_event_loop() == loop.get());
    set_event_loop(nullptr);
    CHECK_THROWS_AS(get_event_loop(), InvalidStateError);
  }).join();
}

TEST_CASE("each thread has its own loop") {
  const auto here = new_event_loop();
  set_event_loop(here.get());
  std::thread([&] {
    const auto there = new_event_loop();
    set_event_loop(there.get());
    CHECK(&get_event_loop() == there.get());
    set_event_loop(nullptr);
  }).join();
  CHECK(&get_event_loop() == here.get());
  set_event_loop(nullptr);
}

TEST_CASE("loops are made and destroyed by the dozen without a trace") {
  const std::size_t fds = open_fd_count();
  for (int i = 0; i < 50; ++i) {
    const auto loop = make_loop(LoopKind(i % 4));
    loop->call_soon([] {});
    loop->call_later(1h, [] {});
    CHECK(loop->run_until_complete([] { return 1; }) == 1);
  }
  CHECK(open_fd_count() == fds);
}

TEST_CASE("a policy of one's own decides about every loop; null brings back the default") {
  struct Policy : EventLoopPolicy {
    explicit Policy(int* c) : count(c) {}
    std::unique_ptr<EventLoop> new_event_loop(const LoopOptions&) override {
      ++*count;
      return std::make_unique<PollEventLoop>();
    }
    int* count;
  };
  int made = 0;
  set_event_loop_policy(std::make_unique<Policy>(&made));
  CHECK(dynamic_cast<PollEventLoop*>(new_event_loop().get()) != nullptr);
  CHECK(dynamic_cast<PollEventLoop*>(&get_event_loop()) != nullptr);
  CHECK(made == 2);
  set_event_loop_policy(nullptr);
  CHECK(dynamic_cast<PollEventLoop*>(new_event_loop().get()) == nullptr);
  CHECK(made == 2);
  set_suite_policy();
}

TEST_CASE("a program that ends with tasks on the policy's loop ends quietly") {
  const auto end = run_in_child([] {
    create_task([] { sleep(1h); });
    get_event_loop().run_until_complete([] { sleep(0s); });
  });
  CHECK(end.exited_with(0));
  CHECK(end.errors == "");
}

TEST_CASE("a loop that is destroyed is not its thread's any more") {
  auto loop = new_event_loop();
  set_event_loop(loop.get());
  CHECK(&get_event_loop() == loop.get());
  loop.reset();
  CHECK_FALSE(get_event_loop().is_closed());  // the main thread's own again
}
