// Loops in hosts: what the conformance suite, which runs in each of them, does not ask.
#include <tulp/loop_host.hpp>
#include <tulp/tulp.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>

#include "hosts/driver.hpp"
#include "support/catch.hpp"
#include "support/cpu_time.hpp"
#include "support/hosts.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

std::string any_host() { return GENERATE(from_range(driver_names())); }

/// A host, and a loop in it.
class HostTest : private WarmSignals {
 public:
  HostTest() : name_(any_host()), host_(make_driver(name_)), loop_(host_->new_event_loop()) {
    set_event_loop(loop_.get());
    loop_->set_exception_handler([](EventLoop&, const ExceptionContext& context) {
      UNSCOPED_INFO(context.message << " (" << describe(context.exception) << ")");
      CHECK(context.message.empty());
    });
  }
  HostTest(const HostTest&) = delete;
  HostTest& operator=(const HostTest&) = delete;
  ~HostTest() { set_event_loop(nullptr); }

  Driver& host() { return *host_; }
  EventLoop& loop() { return *loop_; }
  void drop_loop() { loop_.reset(); }
  /// The host, run by the program, until tulp has run `main` as a task.
  template <class F>
  void run_host(F main) {
    auto task = create_task([&] {
      main();
      host().stop();
    });
    host().run();
    CHECK(task.done());
    task.result();
  }

 private:
  std::string name_;
  std::unique_ptr<Driver> host_;
  std::unique_ptr<EventLoop> loop_;
};

/// A server, a client and a time limit: what it answers.
std::string talk() {
  Server server = start_server(
      [](StreamReader reader, StreamWriter writer) {
        while (!reader.at_eof()) writer.write(reader.readline());
      },
      "127.0.0.1", 0);
  auto [reader, writer] = open_connection("127.0.0.1", server.addresses().front().port());
  writer.write("hello\n");
  CHECK_THROWS_AS(with_timeout(3ms, [&reader = reader] { return reader.readexactly(100); }), TimeoutError);
  writer.write("world\n");
  return reader.readexactly(12);
}

}  // namespace

TEST_CASE_METHOD(HostTest, "run_forever() runs what is the host's own, in turn with tulp's") {
  int host_calls = 0;
  host().call_later(1ms, [&] { ++host_calls; });
  host().call_later(2ms, [&] {
    ++host_calls;
    CHECK(get_running_loop() == &loop());
  });
  loop().run_until_complete([&] {
    CHECK(talk() == "hello\nworld\n");
    while (host_calls < 2) sleep(1ms);
  });
  CHECK(host_calls == 2);
}

TEST_CASE_METHOD(HostTest, "a host that the program runs runs tulp's tasks, streams, servers, timers and threads") {
  run_host([&] {
    CHECK(get_running_loop() == &loop());
    CHECK(talk() == "hello\nworld\n");
    CHECK(to_thread([] { return 5; }) == 5);
  });
}

TEST_CASE_METHOD(HostTest, "a host ends when neither it nor tulp has anything left to do, and not before") {
  if (!host().ends_by_itself()) return;
  host().run();  // nothing to do: it ends
  Trace trace;
  host().call_later(1ms, [&] { trace.push_back("host"); });
  loop().call_soon([&] { trace.push_back("soon"); });
  loop().call_later(20ms, [&] { trace.push_back("later"); });
  auto task = create_task([&] {
    sleep(40ms);
    trace.push_back("task");
  });
  host().run();
  CHECK(trace.size() == 4);
  CHECK(trace.back() == "task");

  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  loop().add_reader(ends[0], [&] {
    loop().remove_reader(ends[0]);
    trace.push_back("read");
  });
  host().call_later(2ms, [&] { CHECK(::write(ends[1], "x", 1) == 1); });
  host().run();
  CHECK(trace.back() == "read");

  TimerHandle timer = loop().call_later(1h, [] {});
  host().call_later(2ms, [&] { timer.cancel(); });  // which is all that it waits for
  host().run();
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_METHOD(HostTest, "what the host's callbacks schedule in tulp's loop runs at once, in either way of running") {
  const bool is_driven = GENERATE(true, false);
  Trace trace;
  const auto done = std::make_shared<Future<>>(loop());
  host().call_later(1ms, [&] {
    loop().call_soon([&] { trace.push_back("soon"); });
    loop().call_later(2ms, [&, done] {
      trace.push_back("later");
      done->set_result();
    });
    create_task([&] { trace.push_back("task"); });
  });
  const TimerHandle much_later = loop().call_later(1h, [] {});
  if (is_driven)
    loop().run_until_complete(*done);
  else
    run_host([&] { await(*done); });
  CHECK(trace == Trace{"soon", "task", "later"});
}

TEST_CASE_METHOD(HostTest, "another thread wakes a host that sleeps, in either way of running") {
  const bool is_driven = GENERATE(true, false);
  const auto body = [&] {
    for (int i = 0; i < 20; ++i) {
      Future<int> answer(loop());
      std::thread thread([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        loop().call_soon_threadsafe([answer]() mutable { answer.set_result(1); });
      });
      CHECK(await(answer) == 1);
      thread.join();
    }
  };
  if (is_driven)
    loop().run_until_complete(body);
  else
    run_host(body);
}

TEST_CASE_METHOD(HostTest, "signals reach their handlers while the host runs") {
  run_host([&] {
    Future<> arrived(loop());
    loop().add_signal_handler(SIGUSR1, [&] { arrived.set_result(); });
    ::raise(SIGUSR1);
    await(arrived);
    loop().remove_signal_handler(SIGUSR1);
  });
}

TEST_CASE_METHOD(HostTest, "neither starves the other when both always have something to do") {
  const bool is_driven = GENERATE(true, false);
  constexpr int enough = 20;
  int host_calls = 0;
  int tulp_calls = 0;
  bool is_over = false;
  host().call_again([&] { return ++host_calls, !is_over; });
  const auto keep_busy = [&](auto& self) -> void {
    ++tulp_calls;
    if (!is_over) loop().call_soon([&] { self(self); });
  };
  keep_busy(keep_busy);
  const auto body = [&] {
    while (host_calls < enough || tulp_calls < enough) sleep(0s);
    is_over = true;
    sleep(5ms);  // both hear of it
  };
  if (is_driven)
    loop().run_until_complete(body);
  else
    run_host(body);
  CHECK(host_calls >= enough);
}

TEST_CASE_METHOD(HostTest, "a descriptor that is always ready does not starve the host either") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::write(ends[1], "x", 1) == 1);
  int host_calls = 0;
  host().call_again([&] { return ++host_calls < 20; });
  loop().add_reader(ends[0], [] {});
  run_host([&] {
    while (host_calls < 20) sleep(1ms);
  });
  loop().remove_reader(ends[0]);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_METHOD(HostTest, "while nothing happens the thread sleeps, in either way of running") {
  const bool is_driven = GENERATE(true, false);
  const auto before = cpu_time();
  const auto body = [] { sleep(150ms); };
  if (is_driven)
    loop().run_until_complete(body);
  else
    run_host(body);
  CHECK(cpu_time() - before < 75ms);
}

TEST_CASE_METHOD(HostTest, "no timer is early, whatever the host's clock shows") {
  run_host([&] {
    for (const auto delay : {100us, 1000us, 1900us, 3100us}) {
      const TimePoint start = loop().time();
      sleep(delay);
      CHECK(loop().time() - start >= delay);
    }
  });
}

TEST_CASE_METHOD(HostTest, "run_once() is one iteration of both") {
  bool has_run = false;
  host().call_later(0ms, [&] { has_run = true; });
  for (int i = 0; i < 1000 && !has_run; ++i) loop().run_once(RunMode::nowait);
  CHECK(has_run);
  has_run = false;
  loop().call_later(2ms, [&] { has_run = true; });
  while (!has_run) loop().run_once(RunMode::wait);
}

TEST_CASE_METHOD(HostTest, "a host outlives the loop, and goes on") {
  loop().call_later(1h, [] { FAIL("an hour has not passed"); });
  loop().call_soon([] { FAIL("the loop has been dropped"); });
  drop_loop();
  set_event_loop(nullptr);
  bool has_run = false;
  host().call_later(1ms, [&] {
    has_run = true;
    host().stop();
  });
  host().run();
  CHECK(has_run);
}

TEST_CASE_METHOD(HostTest, "two loops live in one host") {
  const auto other = host().new_event_loop();
  Trace trace;
  other->call_later(1ms, [&] { trace.push_back("other"); });
  loop().call_later(20ms, [&] {
    trace.push_back("first");
    host().stop();
  });
  host().run();
  CHECK(trace == Trace{"other", "first"});
  CHECK(host().is_host_of(*other));
}

TEST_CASE_METHOD(HostTest, "a loop in a host has nothing for a second host to wait for: InvalidStateError") {
  CHECK(host().is_host_of(loop()));
  CHECK(host_of(loop()) != nullptr);
  CHECK_THROWS_AS(loop().backend_fd(), InvalidStateError);
  const auto plain = new_event_loop();
  CHECK(host_of(*plain) == nullptr);
  CHECK_THROWS_AS(host().is_host_of(*plain), InvalidStateError);
}

TEST_CASE_METHOD(HostTest, "a loop in a host cannot wait by poll or select: std::invalid_argument") {
  CHECK_THROWS_AS(host().new_event_loop({.selector = SelectorKind::poll}), std::invalid_argument);
  CHECK_THROWS_AS(host().new_event_loop({.selector = SelectorKind::select}), std::invalid_argument);
}

TEST_CASE_METHOD(HostTest, "a child that was forked while the host ran leaves parent and host alone") {
  const bool is_driven = GENERATE(true, false);
  int status = -1;
  bool forked_by_host = false;
  host().call_later(1ms, [&] {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        loop().call_soon([] {});
      } catch (const InvalidStateError&) {
        ::_exit(0);
      }
      ::_exit(1);
    }
    REQUIRE(::waitpid(child, &status, 0) == child);
    forked_by_host = true;
  });
  const auto body = [&] {
    while (!forked_by_host) sleep(1ms);
    CHECK(talk() == "hello\nworld\n");
  };
  if (is_driven)
    loop().run_until_complete(body);
  else
    run_host(body);
  CHECK(status == 0);
}

TEST_CASE_METHOD(HostTest,
                 "a child that was forked inside a task makes a loop of its own; the parent's sees nothing of it") {
  int status = -1;
  run_host([&] {
    const pid_t child = ::fork();
    if (child == 0) {
      set_event_loop(nullptr);
      ::_exit(new_event_loop()->run_until_complete([] {
        sleep(1ms);
        return 7;
      }));
    }
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(talk() == "hello\nworld\n");
  });
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("a host's policy makes every loop, that of run() too, each with a host of its own; threads have theirs") {
  set_event_loop_policy(make_host_policy(any_host()));
  const auto answer = [] {
    const bool is_hosted = host_of(get_event_loop()) != nullptr;
    return is_hosted ? talk() : std::string("the loop has no host");
  };
  CHECK(run(answer) == "hello\nworld\n");
  std::string other;
  std::thread([&] { other = run(answer); }).join();
  CHECK(other == "hello\nworld\n");
  set_suite_policy();
}

TEST_CASE("a loop with a host of its own leaves no descriptor behind") {
  const std::string name = any_host();
  const auto policy = make_host_policy(name);
  policy->new_event_loop({});  // what the host opens for the whole process
  const std::size_t before = open_fd_count();
  for (int i = 0; i < 3; ++i) {
    const auto loop = policy->new_event_loop({});
    loop->run_until_complete([] { sleep(1ms); });
  }
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(HostTest, "a watched descriptor that was closed has the host change over to another one") {
  std::size_t reports = 0;
  loop().set_exception_handler([&](EventLoop&, const ExceptionContext&) { ++reports; });
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  int duplicate = -1;
  run_host([&] {
    loop().add_reader(ends[0], [] {});
    sleep(1ms);
    duplicate = ::dup(ends[0]);
    ::close(ends[0]);
    CHECK(::write(ends[1], "x", 1) == 1);
    loop().remove_reader(ends[0]);
    while (reports == 0) sleep(1ms);
    CHECK(talk() == "hello\nworld\n");
  });
  CHECK(reports == 1);
  ::close(duplicate);
  ::close(ends[1]);
}
