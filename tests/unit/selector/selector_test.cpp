#include "selector/selector.hpp"

#include <tulp/error.hpp>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <csignal>
#include <ctime>
#include <string>
#include <vector>

#include "base/sys.hpp"
#include "base/unique_fd.hpp"
#include "support/catch.hpp"

using namespace tulp;
using namespace std::chrono_literals;

namespace {
using Trigger = Selector::Trigger;

/// One selector of each kind in turn: all of them pass the same tests.
struct SelectorTest {
  SelectorTest() : selector(GENERATE(true, false) ? make_epoll_selector() : make_poll_selector()) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
  }
  std::vector<SelectorEvent> wait(Duration timeout = 0s, std::size_t capacity = 16) {
    std::vector<SelectorEvent> events(capacity);
    events.resize(selector->wait(timeout, events));
    return events;
  }
  void write() { CHECK(::write(there.get(), "x", 1) == 1); }
  void fill() {
    const std::string much(1 << 16, 'x');
    while (::write(here.get(), much.data(), much.size()) > 0) {
    }
  }

  std::unique_ptr<Selector> selector;
  UniqueFd here, there;
};
}  // namespace

TEST_CASE_METHOD(SelectorTest,
                 "a selector reports what a descriptor is ready for, if that was asked for, with its token") {
  selector->add(here.get(), {.read = true}, Trigger::level, 77);
  CHECK(wait().empty());
  write();
  for (int again = 0; again < 2; ++again) {  // level-triggered
    const auto events = wait();
    REQUIRE(events.size() == 1);
    CHECK(events[0].token == 77);
    CHECK(events[0].readable);
    CHECK_FALSE(events[0].writable);
    CHECK_FALSE(events[0].exceptional);
  }
  selector->modify(here.get(), {.write = true}, 78);
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].token == 78);
  CHECK_FALSE(events[0].readable);
  CHECK(events[0].writable);
}

TEST_CASE_METHOD(
    SelectorTest,
    "a descriptor without interest is watched no more, not even for hang-up, until there is interest again") {
  selector->add(here.get(), {.read = true, .write = true}, Trigger::level, 1);
  selector->modify(here.get(), {}, 1);
  there.reset();
  CHECK(wait().empty());
  selector->modify(here.get(), {.read = true}, 1);
  CHECK(wait().size() == 1);
}

TEST_CASE_METHOD(SelectorTest, "a descriptor may be added without interest") {
  selector->add(here.get(), {}, Trigger::level, 1);
  write();
  CHECK(wait().empty());
  selector->modify(here.get(), {.read = true}, 2);
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].token == 2);
}

TEST_CASE_METHOD(SelectorTest, "hang-up makes both directions ready and is exceptional; half-close makes reading so") {
  fill();
  selector->add(here.get(), {.read = true, .write = true}, Trigger::level, 1);
  CHECK(wait().empty());
  SECTION("half-close") {
    ::shutdown(there.get(), SHUT_WR);
    const auto events = wait();
    REQUIRE(events.size() == 1);
    CHECK(events[0].readable);
    CHECK_FALSE(events[0].writable);
    CHECK(events[0].exceptional);
  }
  SECTION("hang-up") {
    there.reset();
    const auto events = wait();
    REQUIRE(events.size() == 1);
    CHECK(events[0].readable);
    CHECK(events[0].writable);
    CHECK(events[0].exceptional);
  }
}

TEST_CASE_METHOD(SelectorTest, "after remove() nothing is reported, and remove() again is harmless") {
  selector->add(here.get(), {.read = true}, Trigger::level, 1);
  write();
  selector->remove(here.get());
  selector->remove(here.get());
  selector->remove(9'999);
  CHECK(wait().empty());
  selector->add(here.get(), {.read = true}, Trigger::level, 2);
  CHECK(wait().size() == 1);
}

TEST_CASE_METHOD(SelectorTest,
                 "a descriptor that is added twice, is not open or does not exist is refused with OsError") {
  selector->add(here.get(), {.read = true}, Trigger::level, 1);
  CHECK_THROWS_AS(selector->add(here.get(), {.read = true}, Trigger::level, 2), OsError);
  for (int fd : {-1, 9'999, INT_MAX}) CHECK_THROWS_AS(selector->add(fd, {.read = true}, Trigger::level, 3), OsError);
  write();
  CHECK(wait().size() == 1);
}

TEST_CASE_METHOD(
    SelectorTest,
    "a wait lasts at least as long as asked, to the nanosecond or rounded up, and ends at once for an event") {
  selector->add(here.get(), {.read = true}, Trigger::level, 1);
  for (const Duration timeout : {Duration(1us), Duration(400us), Duration(1300us)}) {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(wait(timeout).empty());
    CHECK(std::chrono::steady_clock::now() >= begin + std::chrono::nanoseconds(timeout));
  }
  write();
  const auto begin = std::chrono::steady_clock::now();
  CHECK(wait(10s).size() == 1);
  CHECK(wait(Duration::max()).size() == 1);
  CHECK(std::chrono::steady_clock::now() < begin + 5s);
}

TEST_CASE_METHOD(SelectorTest, "a signal ends the wait early, with nothing") {
  struct sigaction previous {
  }, ignore_it{};
  ignore_it.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &ignore_it, &previous);
  timer_t timer{};
  ::timer_create(CLOCK_MONOTONIC, nullptr, &timer);
  const itimerspec soon{{0, 0}, {0, 2'000'000}};
  ::timer_settime(timer, 0, &soon, nullptr);
  CHECK(wait(20s).empty());
  ::timer_delete(timer);
  ::sigaction(SIGALRM, &previous, nullptr);
}

TEST_CASE_METHOD(SelectorTest, "with more ready than fit into one answer, each descriptor gets its turn") {
  std::vector<UniqueFd> ready;
  for (std::uint64_t i = 0; i < 10; ++i) {
    ready.emplace_back(::eventfd(1, EFD_CLOEXEC));
    selector->add(ready.back().get(), {.read = true}, Trigger::level, i);
  }
  std::array<int, 10> reports{};
  for (int round = 0; round < 20; ++round)
    for (const SelectorEvent& event : wait(0s, 4)) ++reports[event.token];
  CHECK(std::all_of(reports.begin(), reports.end(), [](int n) { return n >= 6 && n <= 10; }));
}

TEST_CASE_METHOD(SelectorTest, "a selector with edges reports each one once; one without says so") {
  selector->add(here.get(), {.read = true}, Trigger::edge, 5);
  const auto first = wait();
  if (!selector->has_edges()) {
    CHECK(first.empty());
    write();
    CHECK(wait().size() == 1);
    CHECK(wait().size() == 1);
    return;
  }
  write();
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].readable);
  CHECK(wait().empty());
  write();
  CHECK(wait().size() == 1);
}

TEST_CASE("where epoll_pwait2 is missing or forbidden, epoll waits in whole milliseconds, rounded up") {
  const SystemCalls original = sys;
  static int error_number;
  error_number = GENERATE(ENOSYS, EPERM);
  sys.epoll_pwait2 = [](int, epoll_event*, int, const timespec*, const sigset_t*) {
    errno = error_number;
    return -1;
  };
  const auto selector = make_epoll_selector();
  std::array<SelectorEvent, 4> events;
  const auto begin = std::chrono::steady_clock::now();
  CHECK(selector->wait(1100us, events) == 0);
  CHECK(std::chrono::steady_clock::now() >= begin + 2ms);
  sys = original;
}

TEST_CASE("a selector that cannot be made, or whose wait fails, throws OsError") {
  const SystemCalls original = sys;
  sys.epoll_create1 = [](int) {
    errno = EMFILE;
    return -1;
  };
  CHECK_THROWS_AS(make_epoll_selector(), OsError);
  sys = original;
  sys.poll = [](pollfd*, nfds_t, int) {
    errno = ENOMEM;
    return -1;
  };
  std::array<SelectorEvent, 4> events;
  CHECK_THROWS_AS(make_poll_selector()->wait(0s, events), OsError);
  sys = original;
}

TEST_CASE("milliseconds for poll are rounded up, bounded, and -1 for ever") {
  CHECK(to_poll_timeout(Duration::max()) == -1);
  CHECK(to_poll_timeout(0s) == 0);
  CHECK(to_poll_timeout(-5s) == 0);
  CHECK(to_poll_timeout(1ns) == 1);
  CHECK(to_poll_timeout(1ms) == 1);
  CHECK(to_poll_timeout(1400us) == 2);
  CHECK(to_poll_timeout(24h * 365 * 200) == 24 * 3600 * 1000);
}
