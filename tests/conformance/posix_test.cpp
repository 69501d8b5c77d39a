// tulp::posix beyond what the kernel does: in tasks that are cancelled, on descriptors that others watch or close.  What a
// thread would see is compared in tests/posix.
#include <tulp/fd.hpp>
#include <tulp/no_park_scope.hpp>
#include <tulp/posix.hpp>
#include <tulp/stream.hpp>
#include <tulp/task_group.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "base/unique_fd.hpp"
#include "support/loops.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;
using namespace std::chrono_literals;

namespace {

struct Pair {
  explicit Pair(int type = SOCK_STREAM) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
  }
  UniqueFd here, there;
};

struct Outcome {
  ssize_t result;
  int error;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
Outcome read_from(int fd, std::size_t size = 16) {
  std::string into(size, ' ');
  const ssize_t got = posix::read(fd, into.data(), size);
  return {got, got < 0 ? errno : 0};
}

}  // namespace

TEST_CASE_METHOD(LoopTest, "a call parks its task, and the others go on") {
  Pair pair;
  run([&] {
    auto reader = create_task([&] { return read_from(pair.here.get()); });
    let_others_run(3);
    CHECK_FALSE(reader.done());
    CHECK(posix::write(pair.there.get(), "abc", 3) == 3);
    CHECK(await(reader) == Outcome{3, 0});
    CHECK_FALSE(loop().is_watched(pair.here.get()));
  });
}

TEST_CASE_METHOD(LoopTest, "outside a task a call is the plain one") {
  Pair pair;
  CHECK(posix::write(pair.there.get(), "ab", 2) == 2);
  CHECK(read_from(pair.here.get()) == Outcome{2, 0});
  bool has_run = false;
  loop().call_soon([&] {
    has_run = true;
    CHECK(posix::recv(pair.here.get(), nullptr, 0, MSG_DONTWAIT) == -1);
    const timeval limit{0, 1000};
    ::setsockopt(pair.here.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    Outcome blocked = read_from(pair.here.get());
    while (blocked == Outcome{-1, EINTR}) blocked = read_from(pair.here.get());  // a ring of another test's has gone
    CHECK(blocked == Outcome{-1, EAGAIN});
  });
  run([] { let_others_run(2); });
  CHECK(has_run);
}

TEST_CASE_METHOD(LoopTest, "inside a no_park_scope a call is refused, even if it need not wait") {
  Pair pair;
  run([&] {
    const no_park_scope nothing_else_runs;
    CHECK_THROWS_AS(posix::write(pair.here.get(), "a", 1), InvalidStateError);
  });
}

TEST_CASE_METHOD(LoopTest, "cancelling a call throws CancelledError, and nothing has been read") {
  Pair pair;
  run([&] {
    auto reader = create_task([&] { read_from(pair.here.get()); });
    let_others_run(2);
    CHECK(reader.cancel());
    CHECK_THROWS_AS(await(reader), FutureCancelledError);
    CHECK(posix::write(pair.there.get(), "x", 1) == 1);
    CHECK(read_from(pair.here.get()) == Outcome{1, 0});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "what has been sent or received when a call is cancelled is returned, and the next park throws") {
  Pair pair;
  run([&] {
    const std::string much(4'000'000, 'm');
    ssize_t sent = 0, received = 0;
    auto sender = create_task([&] {
      sent = posix::write(pair.here.get(), much.data(), much.size());
      sleep(1h);
    });
    let_others_run(3);
    sender.cancel();
    CHECK_THROWS_AS(await(sender), FutureCancelledError);
    CHECK(sent > 0);
    CHECK(static_cast<std::size_t>(sent) < much.size());
    Pair other;
    auto receiver = create_task([&] {
      char into[8];
      received = posix::recv(other.here.get(), into, sizeof into, MSG_WAITALL);
      sleep(1h);
    });
    CHECK(posix::write(other.there.get(), "abc", 3) == 3);
    let_others_run(3);
    receiver.cancel();
    CHECK_THROWS_AS(await(receiver), FutureCancelledError);
    CHECK(received == 3);
  });
}

TEST_CASE_METHOD(LoopTest, "close() wakes the tasks that wait for the descriptor, with EBADF") {
  Pair pair;
  run([&] {
    const int fd = pair.here.get();
    std::vector<Task<Outcome>> readers;
    for (int i = 0; i < 3; ++i) readers.push_back(create_task([fd] { return read_from(fd); }));
    auto looker = create_task([fd] {
      pollfd polled{fd, POLLIN, 0};
      return posix::poll(&polled, 1, -1) == 1 && polled.revents == POLLNVAL;
    });
    let_others_run(2);
    CHECK(posix::close(pair.here.release()) == 0);
    for (auto& reader : readers) CHECK(await(reader) == Outcome{-1, EBADF});
    CHECK(await(looker));
    CHECK(posix::close(fd) == -1);
    CHECK(errno == EBADF);
  });
}

TEST_CASE_METHOD(LoopTest, "several tasks may wait for one descriptor, in each direction") {
  Pair pair;
  run([&] {
    std::vector<Task<Outcome>> readers;
    for (int i = 0; i < 3; ++i) readers.push_back(create_task([&] { return read_from(pair.here.get(), 1); }));
    let_others_run(2);
    for (auto& reader : readers) {
      CHECK(posix::write(pair.there.get(), "x", 1) == 1);
      CHECK(await(reader) == Outcome{1, 0});
    }
    const std::string much(1'000'000, 'm');
    auto write = [&] { return posix::write(pair.here.get(), much.data(), much.size()); };
    auto one = create_task(write);
    auto two = create_task(write);
    auto reader = create_task([&] { return read_from(pair.here.get()); });
    std::size_t received = 0;
    while (received < 2 * much.size())
      received += static_cast<std::size_t>(std::max<ssize_t>(read_from(pair.there.get(), 100'000).result, 0));
    CHECK(await(one) == static_cast<ssize_t>(much.size()));
    CHECK(await(two) == static_cast<ssize_t>(much.size()));
    CHECK_FALSE(reader.done());
    pair.there.reset();
    CHECK(await(reader).result <= 0);
  });
}

TEST_CASE_METHOD(LoopTest, "a descriptor that a callback watches can be waited for all the same") {
  Pair pair;
  run([&] {
    int call_count = 0;
    loop().add_reader(pair.here.get(), [&] { ++call_count; });
    auto reader = create_task([&] { return read_from(pair.here.get()); });
    let_others_run(3);
    CHECK_FALSE(reader.done());
    CHECK(posix::write(pair.there.get(), "abc", 3) == 3);
    CHECK(await(reader) == Outcome{3, 0});
    auto closed = create_task([&] { return read_from(pair.here.get()); });
    let_others_run(3);
    loop().remove_reader(pair.here.get());
    CHECK(posix::close(pair.here.release()) == 0);
    CHECK(await(closed) == Outcome{-1, EBADF});
  });
}

TEST_CASE_METHOD(LoopTest,
                 "a descriptor may be closed by anybody between two waits, and its number be another file's") {
  run([&] {
    int fd = -1;
    for (int i = 0; i < 3; ++i) {
      Pair pair;
      if (fd >= 0) CHECK(pair.here.get() == fd);
      fd = pair.here.get();
      auto reader = create_task([&] { return read_from(fd); });
      let_others_run(2);
      CHECK(posix::write(pair.there.get(), "x", 1) == 1);
      CHECK(await(reader) == Outcome{1, 0});
      ::close(pair.there.release());
      ::close(pair.here.release());
    }
    UniqueFd pipe[2];
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pipe[0] = UniqueFd(ends[0]);
    pipe[1] = UniqueFd(ends[1]);
    REQUIRE(pipe[0].get() == fd);
    auto reader = create_task([&] { return read_from(fd); });
    let_others_run(2);
    CHECK(posix::write(pipe[1].get(), "xy", 2) == 2);
    CHECK(await(reader) == Outcome{2, 0});
  });
}

TEST_CASE("who waits for a file that has been closed behind tulp's back is not given its successor's bytes") {
  const auto loop = make_loop(LoopKind::epoll);
  set_event_loop(loop.get());
  loop->run_until_complete([&] {
    Pair first;
    const int fd = first.here.get();
    const UniqueFd twin(::fcntl(fd, F_DUPFD_CLOEXEC, 0));  // so that the open file lives on
    auto stale = create_task([fd] { return read_from(fd); });
    let_others_run(2);
    Pair second;
    REQUIRE(::dup2(second.here.get(), fd) == fd);
    auto fresh = create_task([fd] { return read_from(fd); });
    let_others_run(2);
    CHECK(await(stale) == Outcome{-1, EBADF});
    CHECK(posix::write(second.there.get(), "new", 3) == 3);
    CHECK(await(fresh) == Outcome{3, 0});
    CHECK(posix::write(first.there.get(), "old", 3) == 3);  // which the loop does not take for anything
    let_others_run(3);
  });
  set_event_loop(nullptr);
}

TEST_CASE("a transport gets the number of a descriptor that a task still waits for") {
  const auto loop = make_loop(LoopKind::epoll);
  set_event_loop(loop.get());
  loop->run_until_complete([&] {
    const PlainListener listener;
    Pair pair;
    const int fd = pair.here.get();
    auto stale = create_task([fd] { return read_from(fd); });
    let_others_run(2);
    ::close(pair.here.release());
    auto streams = open_connection("127.0.0.1", listener.port());
    const Peer peer = listener.accept();
    peer.send("line\n");
    CHECK(streams.reader.readline() == "line\n");
    CHECK(await(stale) == Outcome{-1, EBADF});
    streams.writer.close();
  });
  set_event_loop(nullptr);
}

TEST_CASE_METHOD(LoopTest, "a call that cannot be watched for says so by errno") {
  if (kind() != LoopKind::epoll) return;
  Pair pair;
  run([&] {
    const PatchedSystem patched;
    static SystemCalls original;
    original = sys;
    sys.epoll_ctl = [](int, int, int, epoll_event*) { return errno = ENOSPC, -1; };
    CHECK(read_from(pair.here.get()) == Outcome{-1, ENOSPC});
    sys.epoll_ctl = original.epoll_ctl;
    loop().add_reader(pair.here.get(), [] {});
    sys.fcntl = [](int fd, int command, int argument) {
      return command == F_DUPFD_CLOEXEC ? (errno = EMFILE, -1) : original.fcntl(fd, command, argument);
    };
    CHECK(read_from(pair.here.get()) == Outcome{-1, EMFILE});
    sys.fcntl = original.fcntl;
    loop().remove_reader(pair.here.get());
  });
}

TEST_CASE_METHOD(LoopTest, "no signal ends a call") {
  static int signal_count;
  signal_count = 0;
  struct sigaction action {
  }, former{};
  action.sa_handler = [](int) { ++signal_count; };
  ::sigaction(SIGUSR1, &action, &former);
  Pair pair;
  run([&] {
    auto reader = create_task([&] { return read_from(pair.here.get()); });
    let_others_run(2);
    ::raise(SIGUSR1);
    let_others_run(3);
    CHECK_FALSE(reader.done());
    CHECK(posix::write(pair.there.get(), "x", 1) == 1);
    CHECK(await(reader) == Outcome{1, 0});
  });
  ::sigaction(SIGUSR1, &former, nullptr);
  CHECK(signal_count == 1);
}

TEST_CASE_METHOD(LoopTest, "a sleep takes the loop's time, and can be cancelled") {
  run([&] {
    const TimePoint begin = loop().time();
    CHECK(posix::sleep(1) == 0);
    CHECK(posix::usleep(1000) == 0);
    CHECK(loop().time() - begin >= 1001ms);
    auto sleeper = create_task([] { posix::sleep(3600); });
    let_others_run(2);
    sleeper.cancel();
    CHECK_THROWS_AS(await(sleeper), FutureCancelledError);
  });
}

TEST_CASE_METHOD(LoopTest, "blocking_calls is a matter of one task, and of a scope in it") {
  run([&] {
    const auto present = [] { return detail::running_task()->blocking_calls(); };
    CHECK(present() == BlockingCalls::block);
    {
      const posix::BlockingCallsScope scope(tulp::park);
      CHECK(present() == BlockingCalls::park);
      CHECK(await(create_task(present)) == BlockingCalls::block);
    }
    CHECK(present() == BlockingCalls::block);
    CHECK(await(create_task({.blocking_calls = tulp::park}, present)) == BlockingCalls::park);
  });
}

TEST_CASE_METHOD(LoopTest, "without tulp-blocking a check says that nothing of libraries parks") {
  std::ostringstream findings;
  CHECK_FALSE(posix::check_blocking_library(findings));
  CHECK(findings.str().find("not loaded") != std::string::npos);
  CHECK_FALSE(posix::report_held_mutexes(true));
}
