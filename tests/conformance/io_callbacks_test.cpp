// add_reader and add_writer: semantics row 38.
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <memory>
#include <stdexcept>

#include "base/sys.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
/// Two connected sockets.
struct WatchedPair {
  WatchedPair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0); }
  ~WatchedPair() {
    for (int end : ends)
      if (end >= 0) ::close(end);
  }
  void write(char byte = 'x') { CHECK(::write(ends[1], &byte, 1) == 1); }
  char read() {
    char byte = 0;
    CHECK(::read(ends[0], &byte, 1) == 1);
    return byte;
  }
  int here() const { return ends[0]; }
  int ends[2];
};

/// How often the loops of the library asked the kernel what is ready.
class CountedWaits {
 public:
  CountedWaits() {
    waits = 0;
    sys.poll = [](pollfd* fds, nfds_t count, int timeout) { return ++waits, ::poll(fds, count, timeout); };
    sys.select = [](int count, fd_set* readable, fd_set* writable, fd_set* exceptional, timeval* timeout) {
      return ++waits, ::select(count, readable, writable, exceptional, timeout);
    };
    sys.epoll_wait = [](int epoll, epoll_event* events, int capacity, int timeout) {
      return ++waits, original.epoll_wait(epoll, events, capacity, timeout);
    };
    sys.epoll_pwait2 = [](int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
      return ++waits, original.epoll_pwait2(epoll, events, capacity, timeout, mask);
    };
  }
  ~CountedWaits() { sys = original; }
  int count() const { return waits; }

 private:
  static inline int waits = 0;
  static inline const SystemCalls original = sys;
};
}  // namespace

TEST_CASE_METHOD(LoopTest,
                 "a reader is called in every iteration in which its descriptor is readable: level-triggered") {
  WatchedPair pair;
  int calls = 0;
  loop().add_reader(pair.here(), [&] { ++calls; });
  run_once();
  CHECK(calls == 0);
  pair.write();
  for (int expected : {1, 2, 3}) {
    run_once();
    CHECK(calls == expected);
  }
  pair.read();
  run_once();
  CHECK(calls == 3);
  CHECK(loop().remove_reader(pair.here()));
}

TEST_CASE_METHOD(LoopTest, "a writer is called for as long as its descriptor is writable") {
  WatchedPair pair;
  int calls = 0;
  loop().add_writer(pair.here(), [&] { ++calls; });
  run_once();
  run_once();
  CHECK(calls == 2);
  const std::string much(100'000, 'x');
  while (::write(pair.here(), much.data(), much.size()) > 0) {
  }
  run_once();
  CHECK(calls == 2);
  CHECK(loop().remove_writer(pair.here()));
}

TEST_CASE_METHOD(LoopTest, "a waiting loop wakes for a descriptor, and callbacks get their arguments each time") {
  WatchedPair pair;
  std::string received;
  loop().add_reader(
      pair.here(),
      [&](const std::string& prefix) {
        received += prefix + pair.read();
        if (received.size() == 4) loop().stop();
      },
      ">");
  loop().call_later(1ms, [&] { pair.write('a'), pair.write('b'); });
  loop().run_forever();
  CHECK(received == ">a>b");
  loop().remove_reader(pair.here());
}

TEST_CASE_METHOD(LoopTest, "the reader of a descriptor is called before its writer") {
  WatchedPair pair;
  Trace trace;
  pair.write();
  loop().add_writer(pair.here(), [&] { trace.push_back("writer"); });
  loop().add_reader(pair.here(), [&] { trace.push_back("reader"); });
  run_once();
  CHECK(trace == Trace{"reader", "writer"});
  loop().remove_reader(pair.here());
  loop().remove_writer(pair.here());
}

TEST_CASE_METHOD(LoopTest, "adding again replaces the former callback, which is destroyed") {
  WatchedPair pair;
  Trace trace;
  auto held = std::make_shared<int>();
  loop().add_reader(pair.here(), [&, held] { trace.push_back("former"); });
  loop().add_reader(pair.here(), [&] { trace.push_back("new"); });
  CHECK(held.use_count() == 1);
  pair.write();
  run_once();
  CHECK(trace == Trace{"new"});
  loop().remove_reader(pair.here());
}

TEST_CASE_METHOD(LoopTest, "remove returns true, then false; reader and writer are independent") {
  WatchedPair pair;
  int reads = 0, writes = 0;
  CHECK_FALSE(loop().remove_reader(pair.here()));
  loop().add_reader(pair.here(), [&] { ++reads; });
  CHECK_FALSE(loop().remove_writer(pair.here()));
  loop().add_writer(pair.here(), [&] { ++writes; });
  pair.write();
  run_once();
  CHECK(loop().remove_reader(pair.here()));
  CHECK_FALSE(loop().remove_reader(pair.here()));
  run_once();
  CHECK(reads == 1);
  CHECK(writes == 2);
  CHECK(loop().remove_writer(pair.here()));
  CHECK_FALSE(loop().remove_writer(pair.here()));
  run_once();
  CHECK(writes == 2);
}

TEST_CASE_METHOD(LoopTest, "remove disarms a callback that is queued already, and destroys it at once") {
  WatchedPair one, other;
  one.write();
  other.write();
  Trace trace;
  auto held = std::make_shared<int>();
  const auto reader = [&](WatchedPair& mine, WatchedPair& theirs) {
    loop().add_reader(mine.here(), [&, held] {
      trace.push_back("reader");
      loop().remove_reader(theirs.here());
      CHECK(held.use_count() == 2 + 0);  // `held` itself and this closure
    });
  };
  reader(one, other);
  reader(other, one);
  run_once();
  run_once();
  CHECK(trace.size() == 2);  // whichever came first took the other one away, both times
  loop().remove_reader(one.here());
  loop().remove_reader(other.here());
}

TEST_CASE_METHOD(LoopTest,
                 "a queued callback that is replaced does not run; its successor does in the next iteration") {
  WatchedPair one, other;
  one.write();
  other.write();
  Trace trace;
  const auto replace = [&](WatchedPair& mine, WatchedPair& theirs) {
    loop().add_reader(mine.here(), [&] {
      trace.push_back("first");
      loop().add_reader(theirs.here(), [&] { trace.push_back("successor"); });
    });
  };
  replace(one, other);
  replace(other, one);
  run_once();
  CHECK(trace == Trace{"first"});
  loop().remove_reader(one.here());
  loop().remove_reader(other.here());
}

TEST_CASE_METHOD(LoopTest, "a callback may remove or replace itself") {
  WatchedPair pair;
  Trace trace;
  pair.write();
  loop().add_reader(pair.here(), [&, held = std::string(100, 'x')] {
    CHECK(loop().remove_reader(pair.here()));
    loop().add_reader(pair.here(), [&] { trace.push_back("second"); });
    trace.push_back("first " + held.substr(0, 1));
  });
  run_once();
  run_once();
  CHECK(trace == Trace{"first x", "second"});
  loop().remove_reader(pair.here());
}

TEST_CASE_METHOD(LoopTest, "hang-up wakes both the reader and the writer") {
  WatchedPair pair;
  Trace trace;
  const std::string much(100'000, 'x');
  while (::write(pair.here(), much.data(), much.size()) > 0) {
  }
  loop().add_reader(pair.here(), [&] { trace.push_back("reader"); });
  loop().add_writer(pair.here(), [&] { trace.push_back("writer"); });
  run_once();
  CHECK(trace.empty());
  ::close(std::exchange(pair.ends[1], -1));
  run_once();
  CHECK(trace == Trace{"reader", "writer"});
  loop().remove_reader(pair.here());
  loop().remove_writer(pair.here());
}

TEST_CASE_METHOD(LoopTest, "a descriptor without callbacks that has hung up does not wake the loop") {
  WatchedPair pair;
  loop().add_reader(pair.here(), [] {});
  loop().add_writer(pair.here(), [] {});
  loop().remove_reader(pair.here());
  loop().remove_writer(pair.here());
  ::close(std::exchange(pair.ends[1], -1));
  loop().call_later(3ms, [this] { loop().stop(); });
  const CountedWaits waits;
  loop().run_forever();
  CHECK(waits.count() <= 4);
}

TEST_CASE_METHOD(LoopTest, "an event for a closed descriptor does not reach the new owner of its number") {
  WatchedPair old;
  int old_calls = 0, new_calls = 0;
  const int number = old.here();
  loop().add_reader(number, [&] { ++old_calls; });
  old.write();
  CHECK(loop().remove_reader(number));
  const int duplicate = ::dup(number);  // keeps the open file, and what epoll knows of it, alive
  WatchedPair fresh;
  REQUIRE(::dup2(fresh.here(), number) == number);
  loop().add_reader(number, [&] { ++new_calls; });
  run_once();
  CHECK(old_calls == 0);
  CHECK(new_calls == 0);
  fresh.write();
  run_once();
  CHECK(new_calls == 1);
  CHECK(old_calls == 0);
  loop().remove_reader(number);
  ::close(duplicate);
}

TEST_CASE_METHOD(
    LoopTest,
    "a descriptor that was closed too early, and lives on as a duplicate, does not call the new owner of its number") {
  WatchedPair old;
  int new_calls = 0;
  const int number = old.here();
  loop().add_reader(number, [] {});
  const int duplicate = ::dup(number);
  WatchedPair fresh;
  REQUIRE(::dup2(fresh.here(), number) == number);  // closes it: a mistake, before remove_reader
  loop().remove_reader(number);
  loop().add_reader(number, [&] { ++new_calls; });
  old.write();
  run_once();
  run_once();
  CHECK(new_calls == 0);
  loop().remove_reader(number);
  ::close(duplicate);
  CHECK(take_reports().size() == (has_edges(kind()) ? 1 : 0));  // which alone knows files
}

TEST_CASE_METHOD(LoopTest, "a number that was closed behind the loop's back belongs to whoever watches it next") {
  for (const bool lives_on : {false, true}) {
    WatchedPair old, fresh;
    int old_calls = 0, new_calls = 0;
    const int number = old.here();
    const int duplicate = lives_on ? ::dup(number) : -1;
    loop().add_reader(number, [&] { ++old_calls; });
    REQUIRE(::dup2(fresh.here(), number) == number);
    loop().add_reader(number, [&] { ++new_calls; });
    if (lives_on) old.write();
    run_once();
    run_once();
    CHECK(new_calls == 0);
    fresh.write();
    run_once();
    CHECK(new_calls == 1);
    CHECK(old_calls == 0);
    CHECK(loop().remove_reader(number));
    ::close(duplicate);
    CHECK(take_reports().size() == (lives_on && has_edges(kind()) ? 1 : 0));
  }
}

TEST_CASE_METHOD(LoopTest,
                 "a descriptor that was closed too early, and lives on as a duplicate, does not keep the loop awake") {
  WatchedPair old, other;
  const int number = old.here();
  const int duplicate = ::dup(number);
  int calls = 0;
  loop().add_reader(number, [] {});
  loop().add_reader(other.here(), [&] {
    ++calls;
    other.read();
  });
  ::close(std::exchange(old.ends[0], -1));
  loop().remove_reader(number);
  old.write();  // as far as the kernel knows there is something to read
  loop().call_later(3ms, [&] { loop().stop(); });
  const CountedWaits waits;
  loop().run_forever();
  CHECK(waits.count() <= 6);
  other.write();
  run_once();
  CHECK(calls == 1);
  loop().remove_reader(other.here());
  ::close(duplicate);
  const auto reports = take_reports();
  REQUIRE(reports.size() == (has_edges(kind()) ? 1 : 0));  // the others know numbers only
  for (const auto& report : reports)
    CHECK(report.message.find("descriptor " + std::to_string(number) + " was closed") == 0);
}

TEST_CASE_METHOD(LoopTest, "a bare ::close of a watched descriptor keeps no other from being served") {
  WatchedPair closed, other;
  int calls = 0;
  const int number = closed.here();
  loop().add_reader(number,
                    [&] { loop().remove_reader(number); });  // poll and select call it, which fails when it reads
  loop().add_writer(number, [&] { loop().remove_writer(number); });
  loop().add_reader(other.here(), [&] { ++calls; });
  ::close(std::exchange(closed.ends[0], -1));
  other.write();
  run_once();
  run_once();
  CHECK(calls == 2);
  loop().remove_reader(number);
  loop().remove_writer(number);
  loop().remove_reader(other.here());
}

TEST_CASE_METHOD(LoopTest, "a reader on a descriptor and a writer on its duplicate know nothing of each other") {
  WatchedPair pair;
  const int duplicate = ::fcntl(pair.here(), F_DUPFD_CLOEXEC, 0);
  int reads = 0, writes = 0;
  loop().add_reader(pair.here(), [&] { ++reads; });
  loop().add_writer(duplicate, [&] { ++writes; });
  run_once();
  CHECK(reads == 0);
  CHECK(writes == 1);
  pair.write();
  run_once();
  CHECK(reads == 1);
  CHECK(writes == 2);
  CHECK(loop().remove_reader(pair.here()));
  ::close(std::exchange(pair.ends[0], -1));
  run_once();
  CHECK(reads == 1);
  CHECK(writes == 3);
  CHECK(loop().remove_writer(duplicate));
  ::close(duplicate);
}

TEST_CASE_METHOD(LoopTest, "a number that is closed and opened again within one batch is a new descriptor") {
  WatchedPair one, other;
  one.write();
  other.write();
  int wrong = 0, right = 0;
  // Whichever reader comes first gives the other's number to a fresh, silent pair.
  WatchedPair fresh;
  const auto swap = [&](WatchedPair& mine, WatchedPair& theirs) {
    loop().add_reader(mine.here(), [&] {
      ++right;
      loop().remove_reader(mine.here());
      if (!loop().remove_reader(theirs.here())) return;
      CHECK(::dup2(fresh.here(), theirs.here()) == theirs.here());
      loop().add_reader(theirs.here(), [&] { ++wrong; });
    });
  };
  swap(one, other);
  swap(other, one);
  run_once();
  run_once();
  CHECK(right == 1);
  CHECK(wrong == 0);
  loop().remove_reader(one.here());
  loop().remove_reader(other.here());
}

TEST_CASE_METHOD(LoopTest, "a descriptor that is not open is refused with OsError, however large its number") {
  for (int fd : {-1, 9'999, 50'000'000, INT_MAX}) {
    try {
      loop().add_reader(fd, [] {});
      FAIL("descriptor " << fd << " was accepted");
    } catch (const OsError& error) {
      CHECK(error.code().value() == EBADF);
      CHECK(std::string(error.what()).find(std::to_string(fd)) != std::string::npos);
    }
    CHECK_FALSE(loop().remove_reader(fd));
  }
}

TEST_CASE_METHOD(LoopTest, "a regular file cannot be watched") {
  if (kind() == LoopKind::foreign) return;  // poll(2) says that it is always ready
  const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  try {
    loop().add_reader(fd, [] {});
    FAIL_CHECK("a regular file was accepted");
    loop().remove_reader(fd);
  } catch (const OsError& error) {
    CHECK(error.code().value() == EPERM);
  }
  CHECK_FALSE(loop().remove_reader(fd));
  ::close(fd);
}

TEST_CASE_METHOD(LoopTest, "a reader that throws is reported, and is called again") {
  WatchedPair pair;
  pair.write();
  loop().add_reader(pair.here(), [] { throw std::runtime_error("unreadable"); });
  run_once();
  run_once();
  const auto reports = take_reports();
  REQUIRE(reports.size() == 2);
  CHECK(describe(reports[0].exception) == "unreadable");
  loop().remove_reader(pair.here());
}

TEST_CASE_METHOD(LoopTest, "a reader may not park, and may start a task that does") {
  WatchedPair pair;
  pair.write();
  Trace trace;
  loop().add_reader(pair.here(), [&] {
    pair.read();
    CHECK_THROWS_AS(sleep(0s), InvalidStateError);
    create_task([&] {
      let_others_run();
      trace.push_back("task");
      loop().stop();
    });
  });
  loop().run_forever();
  CHECK(trace == Trace{"task"});
  loop().remove_reader(pair.here());
}

TEST_CASE_METHOD(LoopTest, "four hundred descriptors that are ready at once are all served") {
  std::vector<std::unique_ptr<WatchedPair>> pairs;
  int calls = 0;
  for (int i = 0; i < 400; ++i) {
    pairs.push_back(std::make_unique<WatchedPair>());
    pairs.back()->write();
    loop().add_reader(pairs.back()->here(), [&, fd = pairs.back()->here()] {
      ++calls;
      loop().remove_reader(fd);
    });
  }
  run_once();
  run_once();
  CHECK(calls == 400);
}
