#include "selector/selector.hpp"

#include <tulp/error.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
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
#include "support/loops.hpp"

using namespace tulp;
using namespace std::chrono_literals;

namespace {
using Trigger = Selector::Trigger;

/// Those of this system, and of another one if it can be emulated.
std::vector<SelectorChoice> all_choices() {
  std::vector<SelectorChoice> choices(selector_choices().begin(), selector_choices().end());
  if (!test::has_io_uring())
    std::erase_if(choices, [](const SelectorChoice& choice) { return choice.name == "io_uring"; });
#ifdef TULP_TEST_KQUEUE
  choices.push_back({"kqueue", make_kqueue_selector});
#endif
  return choices;
}

/// Every call that waits fails, for as long as this lives.
struct FailingWaits {
  explicit FailingWaits(int error) {
    error_number = error;
    sys.epoll_wait = [](int, epoll_event*, int, int) { return fail(); };
    sys.epoll_pwait2 = [](int, epoll_event*, int, const timespec*, const sigset_t*) { return fail(); };
    sys.poll = [](pollfd*, nfds_t, int) { return fail(); };
    sys.select = [](int, fd_set*, fd_set*, fd_set*, timeval*) { return fail(); };
    sys.kevent = [](int, const struct kevent*, int, struct kevent*, int, const timespec*) { return fail(); };
  }
  ~FailingWaits() { sys = original; }
  static int fail() { return errno = error_number, -1; }
  static inline int error_number;
  const SystemCalls original = sys;
};

/// The kernel takes a ring apart some milliseconds after it was closed, and interrupts its thread for that: before the next
/// test is timed.
void await_interruption() {
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event unused{};
  ::epoll_wait(epoll.get(), &unused, 1, 50);
}

/// One selector of each kind in turn: all of them pass the same tests.
struct SelectorTest {
  SelectorTest() : SelectorTest(GENERATE(from_range(all_choices()))) {}
  explicit SelectorTest(const SelectorChoice& choice)
      : name(choice.name),
        info(Catch::MessageBuilder("INFO", CATCH_INTERNAL_LINEINFO, Catch::ResultWas::Info) << "this is " << name),
        selector(choice.make()) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
  }
  ~SelectorTest() {
    selector.reset();
    if (name == "io_uring") await_interruption();
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

  std::string name;
  Catch::ScopedMessage info;
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

TEST_CASE_METHOD(SelectorTest, "hang-up alone is reported to whoever asks for it, where the system can tell") {
  const bool can_tell = name == "epoll" || name == "poll" || name == "io_uring";
  const auto trigger = GENERATE(Trigger::level, Trigger::edge);
  if (trigger == Trigger::edge && selector->has_edges()) return;  // then it comes with the rest
  selector->add(here.get(), {.hang_up = true}, trigger, 1);
  write();
  ::shutdown(there.get(), SHUT_WR);
  CHECK(wait().empty());
  there.reset();
  const auto events = wait();
  REQUIRE(events.size() == (can_tell ? 1 : 0));
  for (const auto& event : events) CHECK((event.readable && event.writable && event.exceptional));
  selector->modify(here.get(), {}, 1);
  CHECK(wait().empty());
  selector->modify(here.get(), {.hang_up = true}, 2);
  CHECK(wait().size() == events.size());
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
    CHECK(events[0].exceptional == (name != "select"));  // which has no word for it
  }
  SECTION("hang-up") {
    there.reset();
    const auto events = wait();
    REQUIRE(events.size() == 1);
    CHECK(events[0].readable);
    CHECK(events[0].writable);
    CHECK(events[0].exceptional == (name != "select"));
  }
}

TEST_CASE_METHOD(SelectorTest, "a pipe that nobody reads any more is writable, to whoever waits to write") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  UniqueFd out(ends[0]), in(ends[1]);
  const std::string much(1 << 17, 'x');
  CHECK(::write(in.get(), much.data(), much.size()) > 0);
  selector->add(in.get(), {.write = true}, Trigger::level, 1);
  CHECK(wait().empty());
  out.reset();
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].writable);
}

TEST_CASE_METHOD(SelectorTest, "a descriptor that is ready for both is reported once") {
  selector->add(here.get(), {.read = true, .write = true}, Trigger::level, 1);
  write();
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].readable);
  CHECK(events[0].writable);
}

TEST_CASE_METHOD(SelectorTest, "a descriptor and its duplicate are watched each by itself") {
  const UniqueFd other(::fcntl(here.get(), F_DUPFD_CLOEXEC, 0));
  selector->add(here.get(), {.read = true}, Trigger::level, 1);
  selector->add(other.get(), {.write = true}, Trigger::level, 2);
  write();
  auto events = wait();
  std::sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.token < b.token; });
  REQUIRE(events.size() == 2);
  CHECK(events[0].readable);
  CHECK_FALSE(events[0].writable);
  CHECK(events[1].writable);
  CHECK_FALSE(events[1].readable);
  selector->remove(other.get());
  CHECK(wait().size() == 1);
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

TEST_CASE_METHOD(SelectorTest, "files and folders are refused, as they are always ready") {
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const UniqueFd folder(::open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  for (const int fd : {file.get(), folder.get()}) {
    try {
      selector->add(fd, {.read = true}, Trigger::level, 1);
      FAIL("accepted");
    } catch (const OsError& error) {
      CHECK(error.code().value() == EPERM);
      CHECK(std::string(error.what()).find("descriptor " + std::to_string(fd)) != std::string::npos);
    }
  }
}

TEST_CASE_METHOD(SelectorTest, "a descriptor that was closed behind the selector's back does not keep it from others") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd in(ends[1]);
  selector->add(ends[0], {.read = true}, Trigger::level, 1);
  selector->add(here.get(), {.read = true}, Trigger::level, 2);
  ::close(ends[0]);
  write();
  bool is_heard = false;
  for (const SelectorEvent& event : wait()) {
    is_heard |= event.token == 2;
    if (event.token != 2) CHECK((event.token == 1 && event.readable && event.writable && event.exceptional));
  }
  CHECK(is_heard);
  selector->modify(ends[0], {.read = true, .write = true}, 1);
  selector->remove(ends[0]);
  CHECK(wait().size() == 1);
}

TEST_CASE_METHOD(SelectorTest, "modify() watches whatever file the number belongs to by now, and reports no other") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd in(ends[1]);
  selector->add(ends[0], {.read = true}, Trigger::level, 1);
  REQUIRE(::dup2(here.get(), ends[0]) == ends[0]);  // closes it
  const UniqueFd other(ends[0]);
  selector->modify(ends[0], {.read = true}, 2);
  CHECK(wait().empty());
  write();
  const auto events = wait();
  REQUIRE(events.size() == 1);
  CHECK(events[0].token == 2);
  selector->remove(ends[0]);
}

TEST_CASE_METHOD(SelectorTest,
                 "a descriptor above 1023 is watched like any other, but select refuses it and says why") {
  if (!test::allow_descriptors(FD_SETSIZE + 100)) {
    WARN("skipped: fewer than " << FD_SETSIZE + 100 << " descriptors may be open here");
    return;
  }
  const UniqueFd highest(::fcntl(here.get(), F_DUPFD_CLOEXEC, FD_SETSIZE - 1));
  const UniqueFd higher(::fcntl(here.get(), F_DUPFD_CLOEXEC, FD_SETSIZE));
  REQUIRE(highest.get() == FD_SETSIZE - 1);
  selector->add(highest.get(), {.read = true}, Trigger::level, 1);
  write();
  CHECK(wait().size() == 1);
  if (name != "select") {
    selector->add(higher.get(), {.read = true}, Trigger::level, 2);
    CHECK(wait().size() == 2);
    return;
  }
  try {
    selector->add(higher.get(), {.read = true}, Trigger::level, 2);
    FAIL("accepted");
  } catch (const OsError& error) {
    CHECK(error.code().value() == EMFILE);
    CHECK(std::string(error.what()) ==
          "select of descriptor 1024 (it holds only those below 1024): Too many open files");
  }
  selector->modify(higher.get(), {.read = true}, 2);
  selector->remove(higher.get());
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

TEST_CASE_METHOD(SelectorTest, "a wait that fails throws OsError, but an interrupted one finds nothing") {
  selector->add(here.get(), {.read = true}, Trigger::level, 1);
  write();
  {
    const FailingWaits failing(ENOMEM);
    CHECK_THROWS_AS(wait(), OsError);
  }
  if (name != "io_uring") {  // which waits by itself, and only asks epoll what there is
    const FailingWaits failing(EINTR);
    CHECK(wait(Duration::max()).empty());
  }
  CHECK(wait().size() == 1);
}

TEST_CASE("a selector for which there is no descriptor throws OsError") {
  const SystemCalls original = sys;
  sys.epoll_create1 = [](int) { return errno = EMFILE, -1; };
  sys.kqueue = [] { return errno = EMFILE, -1; };
  CHECK_THROWS_AS(make_epoll_selector(), OsError);
#ifdef TULP_TEST_KQUEUE
  CHECK_THROWS_AS(make_kqueue_selector(), OsError);
#endif
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

TEST_CASE_METHOD(SelectorTest, "what is watched once can be watched again, also without having been taken out") {
  for (int again = 0; again < 3; ++again) {
    selector->add(here.get(), {.read = true}, Trigger::once, 10 + static_cast<std::uint64_t>(again));
    CHECK(wait().empty());
    write();
    const auto events = wait();
    REQUIRE(events.size() == 1);
    CHECK(events[0].token == 10 + static_cast<std::uint64_t>(again));
    if (selector->has_edges() && name == "epoll") CHECK(wait().empty());  // the others rely on modify()
    selector->remove(here.get());
    char byte;
    CHECK(::read(here.get(), &byte, 1) == 1);
  }
  selector->add(here.get(), {.write = true}, Trigger::level, 20);
  for (int level = 0; level < 2; ++level) CHECK(wait().size() == 1);
  selector->remove(here.get());
  CHECK(wait().empty());
}

TEST_CASE("epoll says whether a number that is watched once has become another file's") {
  const auto selector = make_epoll_selector();
  int pipes[2][2];
  for (auto& ends : pipes) REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd read_end(pipes[0][0]), write_end(pipes[0][1]), other(pipes[1][0]), other_write_end(pipes[1][1]);
  const UniqueFd twin(::fcntl(read_end.get(), F_DUPFD_CLOEXEC, 0));
  selector->add(read_end.get(), {.read = true}, Trigger::once, 1);
  CHECK(selector->modify(read_end.get(), {.read = true}, 2));
  REQUIRE(::dup2(other.get(), read_end.get()) == read_end.get());
  CHECK_FALSE(selector->modify(read_end.get(), {.read = true}, 3));
  REQUIRE(::write(other_write_end.get(), "x", 1) == 1);
  std::array<SelectorEvent, 4> events;
  REQUIRE(selector->wait(0s, events) == 1);
  CHECK(events[0].token == 3);
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  REQUIRE(selector->wait(0s, events) == 1);  // the former file's, with its own token
  CHECK(events[0].token == 2);
}
