// The loop as a guest of whatever can wait for a descriptor.
#include <tulp/loop_host.hpp>
#include <tulp/tulp.hpp>

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

bool is_readable(int fd, int milliseconds = 0) {
  pollfd waits{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&waits, 1, milliseconds) == 1;
}

/// A host of a few lines, which fails a test that would hang in it.
template <class Done>
void host(EventLoop& guest, Done done) {
  constexpr int patience = 10'000;
  while (!done()) {
    const Duration timeout = guest.next_timeout();
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(timeout)).count();
    const bool has_come =
        is_readable(guest.backend_fd(), timeout.is_never() ? patience : static_cast<int>(milliseconds));
    REQUIRE((has_come || !timeout.is_never()));
    guest.run_once(RunMode::nowait);
  }
}

class GuestTest : private WarmSignals, public LoopTest {
 public:
  GuestTest() : LoopTest(LoopKind::epoll) { fd_ = loop().backend_fd(); }
  bool is_woken() { return is_readable(fd_); }
  void run_once() { loop().run_once(RunMode::nowait); }

 private:
  int fd_;
};

}  // namespace

TEST_CASE_METHOD(GuestTest, "a guest that has nothing to do has no timeout and a quiet descriptor") {
  run_once();
  CHECK(loop().next_timeout().is_never());
  CHECK_FALSE(is_woken());
}

TEST_CASE_METHOD(GuestTest, "run_once(nowait) runs what had been scheduled until then, and does not wait") {
  Trace trace;
  loop().call_soon([&] {
    trace.push_back("first");
    loop().call_soon([&] { trace.push_back("next iteration"); });
  });
  loop().call_later(1h, [] {});
  run_once();
  CHECK(trace.front() == "first");
  host(loop(), [&] { return trace.size() == 2; });
  CHECK(loop().next_timeout() > Duration(59min));
  CHECK(loop().next_timeout() <= Duration(1h));
}

TEST_CASE_METHOD(GuestTest,
                 "what is scheduled between two iterations makes the descriptor readable, and the timeout shorter") {
  loop().call_soon([] {});
  CHECK(is_woken());
  CHECK(loop().next_timeout() == Duration::zero());
  run_once();
  CHECK_FALSE(is_woken());

  TimerHandle timer = loop().call_later(1h, [] {});
  CHECK(is_woken());
  run_once();
  CHECK_FALSE(is_woken());
  CHECK(loop().next_timeout() <= Duration(1h));
  timer.cancel();
  CHECK(loop().next_timeout().is_never());
}

TEST_CASE_METHOD(GuestTest, "another thread's entries make the descriptor readable, each time") {
  int count = 0;
  for (int i = 0; i < 3; ++i) {
    std::thread([&] { loop().call_soon_threadsafe([&] { ++count; }); }).join();
    CHECK(is_woken());
    CHECK(loop().next_timeout() == Duration::zero());
    run_once();
    CHECK(count == i + 1);
    CHECK_FALSE(is_woken());
  }
}

TEST_CASE("what another thread has posted before the descriptor was asked for is not missed") {
  LoopTest test(LoopKind::epoll);
  bool has_run = false;
  std::thread([&] { test.loop().call_soon_threadsafe([&] { has_run = true; }); }).join();
  host(test.loop(), [&] { return has_run; });
}

TEST_CASE_METHOD(GuestTest, "a signal makes the descriptor readable, and its handler runs in the next iteration") {
  int signals = 0;
  loop().add_signal_handler(SIGUSR1, [&] { ++signals; });
  run_once();
  CHECK_FALSE(is_woken());
  ::raise(SIGUSR1);
  CHECK(is_woken());
  host(loop(), [&] { return signals == 1; });
  loop().remove_signal_handler(SIGUSR1);
}

TEST_CASE_METHOD(GuestTest, "descriptors of the user are level-triggered through the host too") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  int calls = 0;
  loop().add_reader(ends[0], [&] { ++calls; });
  run_once();
  CHECK_FALSE(is_woken());
  REQUIRE(::write(ends[1], "x", 1) == 1);
  for (int i = 1; i <= 3; ++i) {
    CHECK(is_woken());
    run_once();
    CHECK(calls == i);
  }
  loop().remove_reader(ends[0]);
  run_once();
  CHECK_FALSE(is_woken());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_METHOD(GuestTest, "tasks, streams, a server and a time limit run in a host of ten lines") {
  auto task = create_task([] {
    Server server = start_server(
        [](StreamReader reader, StreamWriter writer) {
          while (!reader.at_eof()) writer.write(reader.readline());
        },
        "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.addresses().front().port());
    writer.write("hello\n");
    const std::string answer = reader.readline();
    CHECK_THROWS_AS(with_timeout(5ms, [&reader = reader] { reader.readline(); }), TimeoutError);
    return answer + to_thread([] { return std::string("from a thread"); });
  });
  host(loop(), [&] { return task.done(); });
  CHECK(task.result() == "hello\nfrom a thread");
  host(loop(), [&] { return all_tasks().empty(); });
}

TEST_CASE_METHOD(GuestTest, "stop() is over with the iteration: it does not keep the host awake") {
  loop().stop();
  run_once();
  loop().call_soon([&] { loop().stop(); });
  run_once();
  CHECK(loop().next_timeout().is_never());
  CHECK_FALSE(is_woken());
}

TEST_CASE_METHOD(GuestTest, "a guest can still be run by itself, and be a guest again") {
  CHECK(loop().run_until_complete([] {
    sleep(1ms);
    return 1;
  }) == 1);
  CHECK_FALSE(is_woken());
  loop().call_soon([] {});
  CHECK(is_woken());
  run_once();
}

TEST_CASE_METHOD(GuestTest, "run_once(wait) waits for what comes next") {
  bool has_come = false;
  const TimePoint start = loop().time();
  loop().call_later(3ms, [&] { has_come = true; });
  while (!has_come) loop().run_once(RunMode::wait);
  CHECK(loop().time() - start >= Duration(3ms));
}

TEST_CASE_METHOD(GuestTest, "run_once() inside a callback is refused") {
  bool was_refused = false;
  loop().call_soon([&] {
    CHECK_THROWS_AS(loop().run_once(RunMode::nowait), InvalidStateError);
    was_refused = true;
  });
  run_once();
  CHECK(was_refused);
}

TEST_CASE_METHOD(GuestTest,
                 "a watched descriptor that was closed has the loop change over to another descriptor, which wakes") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  loop().add_reader(ends[0], [] {});
  run_once();
  const int duplicate = ::dup(ends[0]);
  ::close(ends[0]);
  REQUIRE(::write(ends[1], "x", 1) == 1);
  const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);  // has the number
  loop().remove_reader(ends[0]);
  int rounds = 0;
  while (take_reports().empty() && ++rounds < 10) run_once();
  CHECK(rounds < 10);
  bool has_run = false;
  std::thread([&] { loop().call_soon_threadsafe([&] { has_run = true; }); }).join();
  host(loop(), [&] { return has_run; });
  ::close(duplicate);
  ::close(next);
  ::close(ends[1]);
}

TEST_CASE("a loop that waits by poll or select, or is closed, has no descriptor to be waited for: InvalidStateError") {
  for (const SelectorKind kind : {SelectorKind::poll, SelectorKind::select}) {
    const auto loop = new_event_loop({.selector = kind});
    CHECK_THROWS_AS(loop->backend_fd(), InvalidStateError);
    bool has_run = false;
    loop->call_soon([&] { has_run = true; });
    loop->run_once(RunMode::nowait);
    CHECK(has_run);
  }
  const auto loop = new_event_loop({.selector = SelectorKind::epoll});
  loop->close();
  CHECK_THROWS_AS(loop->backend_fd(), InvalidStateError);
  CHECK_THROWS_AS(loop->run_once(RunMode::nowait), InvalidStateError);
  CHECK(loop->next_timeout().is_never());
}

TEST_CASE("a loop of one's own that does not know how refuses to be a guest") {
  PollEventLoop loop;
  CHECK_THROWS_AS(loop.backend_fd(), InvalidStateError);
  CHECK_THROWS_AS(loop.next_timeout(), InvalidStateError);
  CHECK_THROWS_AS(loop.run_once(RunMode::nowait), InvalidStateError);
}
