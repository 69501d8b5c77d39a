// tulp-blocking in a program that is linked with it: what it takes over, for whom, and what it reports.
#include <tulp/log.hpp>
#include <tulp/posix.hpp>
#include <tulp/run.hpp>
#include <tulp/stream.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <sstream>
#include <string>

#include "base/unique_fd.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

extern "C" ssize_t __read_chk(int fd, void* into, size_t size, size_t room);

namespace {

struct Pair {
  Pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
  }
  void limit(std::chrono::milliseconds time) const {
    const timeval limit{0, std::chrono::microseconds(time).count()};
    REQUIRE(::setsockopt(here.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  }
  UniqueFd here, there;
};

/// What reports have said while it lived.
class Reports {
 public:
  Reports() {
    set_log_sink([this](std::string_view report) { text_ += report; });
  }
  Reports(const Reports&) = delete;
  Reports& operator=(const Reports&) = delete;
  ~Reports() { set_log_sink({}); }
  bool contain(std::string_view text) const { return text_.find(text) != std::string::npos; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

template <class F>
auto in_parking_task(F body) {
  return run([&] { return await(create_task({.name = "parking", .blocking_calls = tulp::park}, body)); });
}

int turn_count;
/// How often another task had its turn meanwhile.
template <class F>
int turns_during(F body) {
  turn_count = 0;
  auto other = create_task([] {
    for (;; ++turn_count) sleep(1ms);
  });
  body();
  other.cancel();
  return turn_count;
}

}  // namespace

TEST_CASE("all that it takes over is its own") {
  std::ostringstream findings;
  CHECK(posix::check_blocking_library(findings));
  CHECK(findings.str().find("  getaddrinfo: parks\n") != std::string::npos);
}

TEST_CASE("calls of libraries park where a task has asked for it, and hold up the loop elsewhere") {
  const Pair pair;
  pair.limit(30ms);
  char byte;
  const auto read = [&] { CHECK(::read(pair.here.get(), &byte, 1) == -1); };
  run([&] {
    CHECK(turns_during(read) == 0);
    const posix::BlockingCallsScope scope(tulp::park);
    CHECK(turns_during(read) > 0);
    CHECK(turns_during([&] { CHECK(__read_chk(pair.here.get(), &byte, 1, 1) == -1); }) > 0);
    CHECK(turns_during([&] { ::usleep(20'000); }) > 0);
    const posix::BlockingCallsScope inner(BlockingCalls::block);
    CHECK(turns_during(read) == 0);
  });
}

TEST_CASE("tulp itself is not caught: its streams work as ever in a task whose libraries park") {
  in_parking_task([] {
    auto server = start_server(
        [](StreamReader reader, StreamWriter writer) {
          while (!reader.at_eof()) writer.write(reader.readline());
        },
        "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    for (int i = 0; i < 100; ++i) {
      writer.write("line\n");
      CHECK(reader.readline() == "line\n");
    }
    writer.close();
    server.close();
  });
}

TEST_CASE("a cancellation fails each call that would wait, with ECANCELED, and is thrown at the next park of tulp's") {
  const Pair pair;
  bool was_thrown = false;
  run([&] {
    auto task = create_task({.blocking_calls = tulp::park}, [&] {
      char byte;
      for (int i = 0; i < 3; ++i) {
        CHECK(::read(pair.here.get(), &byte, 1) == -1);
        CHECK(errno == ECANCELED);
      }
      CHECK(::write(pair.here.get(), "bye", 3) == 3);  // it need not wait
      pollfd polled{pair.here.get(), POLLIN, 0};
      CHECK(::poll(&polled, 1, -1) == -1);
      CHECK(errno == ECANCELED);
      CHECK(::sleep(3600) == 0);
      timespec long_time{3600, 0};
      CHECK(::nanosleep(&long_time, nullptr) == -1);
      CHECK(::clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, nullptr) == ECANCELED);
      addrinfo* found = nullptr;
      CHECK(::getaddrinfo("localhost", nullptr, nullptr, &found) == EAI_SYSTEM);
      CHECK(errno == ECANCELED);
      CHECK(::gethostbyname("localhost") == nullptr);
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        was_thrown = true;
        throw;
      }
    });
    sleep(10ms);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
  });
  CHECK(was_thrown);
}

TEST_CASE("a call that has held up the loop is reported, with its stack") {
  const Pair pair;
  pair.limit(40ms);
  const Reports reports;
  CHECK(posix::report_blocking_calls(20ms));
  run([&] {
    char byte;
    ::read(pair.here.get(), &byte, 1);
    get_event_loop().call_soon([&] { ::usleep(30'000); });
    sleep(0s);
    sleep(0s);
  });
  ::usleep(30'000);  // no loop is held up
  CHECK(posix::report_blocking_calls(Duration::max()));
  INFO(reports.text());
  CHECK(reports.contain("read() has held up the event loop for "));
  CHECK(reports.contain("in task 'main'"));
  CHECK(reports.contain("usleep() has held up the event loop for "));
  CHECK(reports.contain("in a callback"));
  CHECK(reports.contain("library_test.cpp"));
}

TEST_CASE("a mutex that is held over a park is reported once, with both stacks") {
  std::mutex mutex, other;
  const Reports reports;
  CHECK(posix::report_held_mutexes(true));
  run([&] {
    { const std::lock_guard lock(other); }
    sleep(0s);
    CHECK(reports.text().empty());
    const std::lock_guard lock(mutex);
    sleep(1ms);
    sleep(1ms);
  });
  CHECK(posix::report_held_mutexes(false));
  INFO(reports.text());
  CHECK(reports.contain("task 'main'"));
  CHECK(reports.contain("parks while it holds the mutex"));
  CHECK(reports.contain("locked at"));
  CHECK(reports.contain("parks at"));
  CHECK(reports.text().find("parks while") == reports.text().rfind("parks while"));
}

TEST_CASE("a signal handler on a stack of its own does not park, nor does a forked child") {
  static int fd;
  static ssize_t result;
  const Pair pair;
  pair.limit(20ms);
  fd = pair.here.get();
  result = 0;
  char stack[64 * 1024];
  const stack_t alternate{stack, 0, sizeof stack};
  stack_t former_stack{};
  ::sigaltstack(&alternate, &former_stack);
  struct sigaction action {
  }, former{};
  action.sa_flags = SA_ONSTACK;
  action.sa_handler = [](int) {
    char byte;
    result = ::read(fd, &byte, 1);
  };
  ::sigaction(SIGUSR1, &action, &former);
  in_parking_task([] {
    CHECK(turns_during([] { ::raise(SIGUSR1); }) == 0);
    CHECK(result == -1);
    const pid_t child = ::fork();
    if (child == 0) {
      char byte;
      ::_exit(::read(fd, &byte, 1) == -1 && errno == EAGAIN ? 7 : 1);
    }
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
  });
  ::sigaction(SIGUSR1, &former, nullptr);
  ::sigaltstack(&former_stack, nullptr);
}
