// Descriptors of the user: waiting for them in a task, and closing them while somebody waits.  Field notes 4-#19.
#include <tulp/fd.hpp>
#include <tulp/stream.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "support/loops.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

struct SocketPair {
  SocketPair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0); }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  ~SocketPair() {
    for (const int end : ends)
      if (end >= 0) ::close(end);
  }
  void send(int from) { REQUIRE(::write(ends[from], "x", 1) == 1); }
  void fill(int from) {
    const std::string block(4096, 'x');
    while (::write(ends[from], block.data(), block.size()) > 0) {
    }
  }
  int ends[2];
};

}  // namespace

TEST_CASE_METHOD(LoopTest, "wait_readable parks until there is something to read, and does not read it") {
  SocketPair pair;
  run([&] {
    bool has_waited = false;
    auto waiter = create_task([&] {
      wait_readable(pair.ends[0]);
      has_waited = true;
    });
    let_others_run(5);
    CHECK_FALSE(has_waited);
    CHECK(loop().is_watched(pair.ends[0]));
    pair.send(1);
    await(waiter);
    CHECK_FALSE(loop().is_watched(pair.ends[0]));
    wait_readable(pair.ends[0]);  // it is there still
  });
}

TEST_CASE_METHOD(LoopTest,
                 "one task may wait to read and another one to write on one descriptor; a second reader is refused") {
  SocketPair pair;
  pair.fill(0);
  run([&] {
    Trace trace;
    auto reader = create_task([&] {
      wait_readable(pair.ends[0]);
      trace.push_back("readable");
    });
    auto writer = create_task([&] {
      wait_writable(pair.ends[0]);
      trace.push_back("writable");
    });
    let_others_run(2);
    CHECK_THROWS_AS(wait_readable(pair.ends[0]), InvalidStateError);
    CHECK_THROWS_AS(loop().add_reader(pair.ends[0], [] {}), InvalidStateError);
    CHECK(trace.empty());
    pair.send(1);
    await(reader);
    std::string drained(4096, ' ');
    while (::read(pair.ends[1], drained.data(), drained.size()) > 0) {
    }
    await(writer);
    CHECK(trace == Trace{"readable", "writable"});
  });
}

TEST_CASE_METHOD(LoopTest, "a hang-up wakes whoever waits to read, and whoever waits to write") {
  SocketPair pair;
  pair.fill(0);
  run([&] {
    auto reader = create_task([&] { wait_readable(pair.ends[0]); });
    auto writer = create_task([&] { wait_writable(pair.ends[0]); });
    let_others_run(2);
    ::close(std::exchange(pair.ends[1], -1));
    await(reader);
    await(writer);
  });
}

TEST_CASE_METHOD(LoopTest, "a cancelled wait leaves nothing behind") {
  SocketPair pair;
  run([&] {
    auto waiter = create_task([&] { wait_readable(pair.ends[0]); });
    let_others_run(2);
    waiter.cancel();
    CHECK_THROWS_AS(await(waiter), FutureCancelledError);
    CHECK_FALSE(loop().is_watched(pair.ends[0]));
  });
}

TEST_CASE_METHOD(LoopTest, "waiting for what cannot be waited for is an error at once") {
  CHECK_THROWS_AS(wait_readable(0), InvalidStateError);  // no task
  run([&] {
    CHECK(errno_thrown_by([] { wait_readable(-1); }) == EBADF);
    if (kind() == LoopKind::foreign) return;  // a page of poll(2) is not that particular
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(errno_thrown_by([&] { wait_readable(file); }) == EPERM);
    ::close(file);
  });
}

TEST_CASE_METHOD(LoopTest, "tulp::close wakes the tasks that wait for the descriptor, with ECANCELED") {
  SocketPair pair;
  pair.fill(0);
  run([&] {
    auto reader = create_task([&] { wait_readable(pair.ends[0]); });
    auto writer = create_task([&] { wait_writable(pair.ends[0]); });
    let_others_run(2);
    tulp::close(pair.ends[0]);
    const int reused = ::dup(pair.ends[1]);  // readable and writable at once
    CHECK(reused == pair.ends[0]);
    CHECK(errno_thrown_by([&] { await(reader); }) == ECANCELED);
    CHECK(errno_thrown_by([&] { await(writer); }) == ECANCELED);
    CHECK_FALSE(loop().is_watched(reused));
  });
}

TEST_CASE_METHOD(LoopTest, "tulp::close removes the callbacks that watch the descriptor, and reports each") {
  SocketPair pair;
  loop().add_reader(pair.ends[0], [] { FAIL("was removed"); });
  loop().add_writer(pair.ends[0], [] { FAIL("was removed"); });
  tulp::close(pair.ends[0]);
  pair.ends[0] = -1;
  const auto reports = take_reports();
  REQUIRE(reports.size() == 2);
  CHECK_THAT(reports[0].object, Catch::StartsWith("reader of descriptor "));
  CHECK_THAT(reports[1].object, Catch::StartsWith("writer of descriptor "));
  CHECK_THAT(describe(reports[0].exception), Catch::Contains("Operation canceled"));
  CHECK(reports[0].created_at != nullptr);
  SocketPair next;  // takes the number
  next.send(1);
  run_once();
}

TEST_CASE_METHOD(LoopTest, "tulp::close of a descriptor that nobody watches is close(2)") {
  CHECK(errno_thrown_by([] { tulp::close(-1); }) == EBADF);
  SocketPair pair;
  tulp::close(pair.ends[0]);
  CHECK(::fcntl(std::exchange(pair.ends[0], -1), F_GETFD) == -1);
  run([&] { tulp::close(std::exchange(pair.ends[1], -1)); });
}

TEST_CASE_METHOD(LoopTest, "tulp::close refuses a descriptor that belongs to a transport") {
  run([&] {
    auto server = start_server([](StreamReader, StreamWriter) {}, "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    const int fd = writer.get_extra_info<int>("socket").value();
    CHECK_THROWS_AS(tulp::close(fd), InvalidStateError);
    CHECK(::fcntl(fd, F_GETFD) >= 0);
    writer.close();
    writer.wait_closed();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(LoopTest, "a bare ::close behind the loop's back leaves waiters cancellable and the loop alive") {
  SocketPair pair;
  run([&] {
    auto waiter = create_task([&] { wait_readable(pair.ends[0]); });
    let_others_run(2);
    ::close(std::exchange(pair.ends[0], -1));
    let_others_run(2);
    waiter.cancel();
    try {
      await(waiter);  // poll(2) has found the number to be no descriptor, or else the cancellation was there first
    } catch (const FutureCancelledError&) {
    }
    sleep(1ms);
  });
}
