// Files over connections: modern row 20.
#include <tulp/pipe.hpp>
#include <tulp/sendfile.hpp>
#include <tulp/server.hpp>
#include <tulp/sock.hpp>
#include <tulp/stream.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/unique_fd.hpp"
#include "support/bad_kernel.hpp"
#include "support/net.hpp"
#include "support/process.hpp"
#include "support/serving.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

constexpr std::size_t file_bytes = 5'000'000;

/// So that the kernel does not take all of it at once.
void make_small(const Transport& transport) {
  const int small = 4096;
  ::setsockopt(*transport.get_extra_info<int>("socket"), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
}

/// A protocol's transport with a plain socket at its other end, and a file.
class Sending : public NetTest {
 public:
  Sending() { make_small(*transport); }
  /// Lets the loop run until so many bytes have arrived.
  void wait_for(std::size_t count) {
    while (peer.collect().size() < count) sleep(0s);
  }
  /// Begins to send the whole file, and returns when a part of it has arrived, which the peer does not take.
  Task<std::uint64_t> begin() {
    auto sending = create_task([&] { return sendfile(*transport, file.get()); });
    while (peer.collect(100).size() < 100) sleep(0s);
    return sending;
  }
  void end() {
    transport->abort();
    while (!protocol->is_lost()) sleep(0s);
  }

  std::shared_ptr<Recorder> protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol, 4096);
  std::shared_ptr<Transport> transport = protocol->transport;
  const std::string content = pattern(file_bytes);
  UniqueFd file = file_with(content);
};

/// While it lives a test may put in its own sendfile(2) and pread(2), and count the calls.
class FakeSendfile {
 public:
  FakeSendfile() { count = 0; }
  static inline int count;

 private:
  PatchedSystem patched_;
};

}  // namespace

// What is sent.

TEST_CASE_METHOD(Sending, "sendfile sends a file or a part of it, and says how much that was") {
  file = file_with("0123456789");
  run([&] {
    std::string expected;
    auto check = [&](std::uint64_t offset, std::optional<std::uint64_t> count, std::string_view part) {
      CHECK(sendfile(*transport, file.get(), offset, count) == part.size());
      expected += part;
      wait_for(expected.size());
      CHECK(peer.received == expected);
    };
    check(0, std::nullopt, "0123456789");
    check(3, std::nullopt, "3456789");
    check(3, 4, "3456");
    check(0, 10, "0123456789");
    check(8, 100, "89");
    check(10, std::nullopt, "");
    check(1000, 5, "");
    check(0, 0, "");
    file = file_with("");
    check(0, std::nullopt, "");
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 0);
    end();
  });
}

TEST_CASE_METHOD(Sending, "sendfile reads where it is asked to, and leaves the file's own position alone") {
  ::lseek(file.get(), 77, SEEK_SET);
  run([&] {
    CHECK(sendfile(*transport, file.get(), 5, 3) == 3);
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 77);
    wait_for(3);
    CHECK(peer.received == content.substr(5, 3));
    end();
  });
}

TEST_CASE_METHOD(Sending, "a file comes after what was written before it, and before what is written after it") {
  const std::string before = pattern(2'000'000, 7);
  run([&] {
    transport->write(before);
    REQUIRE(transport->get_write_buffer_size() > 0);
    auto sending = create_task([&] {
      const auto count = sendfile(*transport, file.get());
      transport->write("after");
      return count;
    });
    const std::string expected = before + content + "after";
    wait_for(expected.size());
    CHECK(same(peer.received, expected));
    CHECK(await(sending) == file_bytes);
    end();
  });
}

TEST_CASE_METHOD(NetTest,
                 "sendfile over a stream comes after what was gathered, and takes the rest of a large write along") {
  const std::string content = pattern(file_bytes), before = pattern(1'000'000, 7);
  const UniqueFd file = file_with(content);
  run([&] {
    auto s = open_stream({}, 4096);
    make_small(s.writer.transport());
    s.writer.write("gathered");
    auto writing = create_task([&] { s.writer.write(before); });
    let_others_run(2);
    CHECK_FALSE(writing.done());
    auto sending = create_task([&] { sendfile(s.writer.transport(), file.get()); });
    const std::string expected = "gathered" + before + content;
    while (s.peer.collect().size() < expected.size()) sleep(0s);
    CHECK(same(s.peer.received, expected));
    await(writing);
    await(sending);
    s.writer.close();
  });
}

TEST_CASE_METHOD(Sending,
                 "sendfile parks until the kernel has taken the file, and says how much is left meanwhile") {
  run([&] {
    auto sending = begin();
    CHECK_FALSE(sending.done());
    const std::size_t left = transport->get_write_buffer_size();
    CHECK(left > 0);
    CHECK(left < file_bytes);
    wait_for(file_bytes);
    CHECK(await(sending) == file_bytes);
    CHECK(transport->get_write_buffer_size() == 0);
    CHECK(same(peer.received, content));
    end();
  });
}

TEST_CASE_METHOD(Sending, "a file that does not say how long it is is sent to its end") {
  const UniqueFd special(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  REQUIRE(special);
  run([&] {
    auto sending = create_task([&] { return sendfile(*transport, special.get()); });
    while (!sending.done()) {
      peer.collect();
      sleep(0s);
    }
    const auto count = await(sending);
    CHECK(count > 1000);
    wait_for(count);
    const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    CHECK(sendfile(*transport, zero.get(), 0, 10) == 10);
    wait_for(count + 10);
    CHECK(peer.received.substr(count) == std::string(10, '\0'));
    end();
  });
}

TEST_CASE_METHOD(Sending,
                 "a file that shrinks meanwhile gives what it has, and sendfile says how much that was") {
  const bool is_copied = GENERATE(false, true);
  const FakeSendfile fake;
  if (is_copied) sys.sendfile = [](int, int, off_t*, size_t) { return errno = EINVAL, ssize_t{-1}; };
  run([&] {
    auto sending = begin();
    REQUIRE(::ftruncate(file.get(), 2'000'000) == 0);
    while (!sending.done()) {
      peer.collect();
      sleep(0s);
    }
    const auto count = await(sending);
    CHECK(count >= 100);
    CHECK(count < file_bytes);
    wait_for(count);
    transport->write("!");
    wait_for(count + 1);
    CHECK(same(peer.received, content.substr(0, count) + '!'));
    end();
  });
}

// What else happens meanwhile.

TEST_CASE_METHOD(Sending, "while a file is sent nobody else may write or send one") {
  run([&] {
    auto sending = begin();
    CHECK_THROWS_AS(transport->write("x"), InvalidStateError);
    CHECK_THROWS_AS(sendfile(*transport, file.get()), InvalidStateError);
    wait_for(file_bytes);
    await(sending);
    transport->write("x");
    wait_for(file_bytes + 1);
    CHECK(same(peer.received, content + 'x'));
    end();
  });
}

TEST_CASE_METHOD(Sending, "a protocol whose writing is paused is not resumed before the file has been sent") {
  run([&] {
    protocol->on_resume = [&] { transport->write("resumed"); };
    transport->write(std::string(2'000'000, '.'));
    REQUIRE(protocol->trace.back() == "pause");
    auto sending = create_task([&] { sendfile(*transport, file.get()); });
    wait_for(2'000'000 + file_bytes + 7);
    await(sending);
    CHECK(same(peer.received, std::string(2'000'000, '.') + content + "resumed"));
    end();
  });
}

TEST_CASE_METHOD(Sending, "close and write_eof during a sendfile take effect when the file has been sent") {
  run([&] {
    auto sending = begin();
    SECTION("close") {
      transport->close();
      CHECK(transport->is_closing());
    }
    SECTION("write_eof") { transport->write_eof(); }
    SECTION("the peer's end, after which the transport closes") { peer.half_close(); }
    while (!peer.is_over()) sleep(0s);
    CHECK(await(sending) == file_bytes);
    CHECK(peer.has_ended);
    CHECK(same(peer.received, content));
    if (!protocol->is_lost()) end();
    CHECK(protocol->lost_with == nullptr);
  });
}

TEST_CASE_METHOD(Sending, "abort ends a sendfile at once, also after close") {
  const bool is_closing = GENERATE(false, true);
  run([&] {
    auto sending = begin();
    if (is_closing) transport->close();
    transport->abort();
    CHECK(errno_thrown_by([&] { await(sending); }) == ECANCELED);
    while (!peer.is_over()) sleep(0s);
    CHECK(peer.error == ECONNRESET);
    CHECK(protocol->lost_with == nullptr);
  });
}

TEST_CASE_METHOD(Sending, "a connection that breaks during a sendfile is its error, and connection_lost's") {
  run([&] {
    auto sending = begin();
    peer.reset();
    const int error = errno_thrown_by([&] { await(sending); });
    CHECK((error == ECONNRESET || error == EPIPE));
    while (!protocol->is_lost()) sleep(0s);
    CHECK(errno_of(protocol->lost_with) == error);
    CHECK_THROWS_AS(sendfile(*transport, file.get()), OsError);
  });
}

TEST_CASE_METHOD(NetTest, "a stream whose peer has gone hears it from sendfile, and SIGPIPE does not end the process") {
  const LoopKind present = kind();
  const ChildEnd end = run_in_child([present] {
    ::signal(SIGPIPE, SIG_DFL);
    auto loop = make_loop(present);
    set_event_loop(loop.get());
    const UniqueFd file = file_with(pattern(100));
    const int error = loop->run_until_complete([&] {
      auto s = open_stream();
      s.peer.reset();
      return errno_thrown_by([&] {
        for (;;) sendfile(s.writer.transport(), file.get());
      });
    });
    loop->close();
    ::_exit(error == ECONNRESET || error == EPIPE ? 0 : 1);
  });
  CHECK(end.exited_with(0));
}

TEST_CASE_METHOD(Serving,
                 "a server that shuts down does not wait for a deaf peer's file, and says how much was left") {
  const UniqueFd file = file_with(pattern(file_bytes));
  Server server = serve();
  Peer deaf = Peer::connect(server.port(), 4096);
  wait_for(1);
  run([&] {
    auto sending = create_task([&] { sendfile(*protocols[0]->transport, file.get()); });
    while (deaf.collect(100).size() < 100) sleep(0s);
    CHECK(server.shutdown(0s) == 1);
    CHECK(errno_thrown_by([&] { await(sending); }) == ECANCELED);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.find("were not sent") != std::string::npos);
    while (!deaf.is_over()) sleep(0s);
    CHECK(deaf.error == ECONNRESET);
  });
}

// Cancelling.

TEST_CASE_METHOD(Sending, "a sendfile that is cancelled before anything was sent leaves the connection whole") {
  run([&] {
    transport->write(std::string(2'000'000, '.'));
    auto sending = create_task([&] { sendfile(*transport, file.get()); });
    let_others_run(2);
    sending.cancel();
    CHECK_THROWS_AS(await(sending), FutureCancelledError);
    transport->write("and on");
    transport->close();
    while (!peer.is_over()) sleep(0s);
    CHECK(peer.has_ended);
    CHECK(same(peer.received, std::string(2'000'000, '.') + "and on"));
  });
}

TEST_CASE_METHOD(Sending, "a sendfile that is cancelled in its middle breaks the connection: close becomes abort") {
  run([&] {
    auto sending = begin();
    SECTION("close afterwards") {
      sending.cancel();
      CHECK_THROWS_AS(await(sending), FutureCancelledError);
      CHECK_FALSE(protocol->is_lost());
      transport->close();
    }
    SECTION("close before") {
      transport->close();
      sending.cancel();
      CHECK_THROWS_AS(await(sending), FutureCancelledError);
    }
    while (!peer.is_over()) sleep(0s);
    CHECK(peer.error == ECONNRESET);
    CHECK(errno_of(protocol->lost_with) == ECANCELED);
  });
}

// What the system refuses.

TEST_CASE_METHOD(Sending, "what sendfile(2) refuses is read and written, at once or from the middle on") {
  static int refused_from, error_number;
  error_number = GENERATE(EINVAL, ENOSYS, EOPNOTSUPP);
  refused_from = GENERATE(1, 3);
  const FakeSendfile fake;
  sys.sendfile = [](int to, int from, off_t* offset, size_t size) {
    if (++FakeSendfile::count >= refused_from) return errno = error_number, ssize_t{-1};
    return ::sendfile(to, from, offset, std::min<size_t>(size, 1000));
  };
  run([&] {
    auto sending = create_task([&] { return sendfile(*transport, file.get(), 10, file_bytes - 20); });
    wait_for(file_bytes - 20);
    CHECK(await(sending) == file_bytes - 20);
    CHECK(same(peer.received, std::string_view(content).substr(10, file_bytes - 20)));
    CHECK(FakeSendfile::count == refused_from);
    end();
  });
}

TEST_CASE_METHOD(Sending, "without fallback what sendfile(2) refuses is an error, and nothing has happened") {
  run([&] {
    {
      const FakeSendfile fake;
      sys.sendfile = [](int, int, off_t*, size_t) { return errno = EINVAL, ssize_t{-1}; };
      CHECK(errno_thrown_by([&] { sendfile(*transport, file.get(), 0, 10, {.fallback = false}); }) == EINVAL);
    }
    CHECK(sendfile(*transport, file.get(), 0, 10, {.fallback = false}) == 10);
    wait_for(10);
    CHECK(peer.received == content.substr(0, 10));
    end();
  });
}

TEST_CASE_METHOD(Sending, "what is no file, or cannot be read, is an error that leaves the connection whole") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reading(ends[0]), writing(ends[1]);
  const UniqueFd folder(::open("/tmp", O_RDONLY | O_CLOEXEC));
  run([&] {
    CHECK(errno_thrown_by([&] { sendfile(*transport, reading.get()); }) == ESPIPE);
    CHECK(errno_thrown_by([&] { sendfile(*transport, folder.get()); }) == EISDIR);
    CHECK(errno_thrown_by([&] { sendfile(*transport, -1); }) == EBADF);
    transport->write("unharmed");
    wait_for(8);
    CHECK(peer.received == "unharmed");
    end();
  });
}

TEST_CASE_METHOD(Sending, "a file that cannot be read any further breaks the connection that has a part of it") {
  const FakeSendfile fake;
  sys.sendfile = [](int to, int from, off_t* offset, size_t size) {
    if (++FakeSendfile::count > 1) return errno = EIO, ssize_t{-1};
    return ::sendfile(to, from, offset, std::min<size_t>(size, 1000));
  };
  sys.pread = [](int, void*, size_t, off_t) { return errno = EIO, ssize_t{-1}; };
  run([&] {
    CHECK(errno_thrown_by([&] { sendfile(*transport, file.get()); }) == EIO);
    CHECK_FALSE(protocol->is_lost());
    transport->close();
    while (!peer.is_over()) sleep(0s);
    CHECK(peer.error == ECONNRESET);
    CHECK(errno_of(protocol->lost_with) == EIO);
  });
}

TEST_CASE_METHOD(Sending,
                 "sendfile over a kernel that interrupts, hesitates and sends a byte at a time loses nothing") {
  file = file_with(content.substr(0, 3000));
  const BadKernel bad;
  static int error_number;
  error_number = GENERATE(EINTR, 0);
  sys.sendfile = [](int to, int from, off_t* offset, size_t size) {
    if (!BadKernel::misbehaves()) return ::sendfile(to, from, offset, size);
    return error_number != 0 ? (errno = error_number, ssize_t{-1}) : ::sendfile(to, from, offset, 1);
  };
  run([&] {
    CHECK(sendfile(*transport, file.get()) == 3000);
    wait_for(3000);
    CHECK(same(peer.received, content.substr(0, 3000)));
    end();
  });
}

TEST_CASE_METHOD(NetTest, "EAGAIN from sendfile(2) after readiness was reported loses nothing") {
  const BadKernel bad;
  const std::string content = pattern(3000);
  const UniqueFd file = file_with(content);
  sys.sendfile = [](int to, int from, off_t* offset, size_t size) {
    BadKernel::make_edge(to);
    return BadKernel::misbehaves() ? (errno = EAGAIN, ssize_t{-1})
                                   : ::sendfile(to, from, offset, std::min<size_t>(size, 100));
  };
  run([&] {
    auto s = open_stream();
    CHECK(sendfile(s.writer.transport(), file.get()) == 3000);
    s.writer.close();
    while (!s.peer.is_over()) sleep(0s);
    CHECK(same(s.peer.received, content));
  });
}

TEST_CASE_METHOD(NetTest, "a file that the kernel takes at once is one system call, and is not read") {
  const UniqueFd file = file_with(pattern(100'000));
  run([&] {
    auto s = open_stream();
    const int room = 200'000;  // else it depends on how soon the other end acknowledges
    ::setsockopt(*s.writer.get_extra_info<int>("socket"), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    const FakeSendfile fake;
    sys.sendfile = [](int to, int from, off_t* offset, size_t size) {
      ++FakeSendfile::count;
      return ::sendfile(to, from, offset, size);
    };
    sys.pread = [](int, void*, size_t, off_t) { return errno = EIO, ssize_t{-1}; };
    CHECK(sendfile(s.writer.transport(), file.get()) == 100'000);
    CHECK(fake.count == 1);
    while (s.peer.collect().size() < 100'000) sleep(0s);
    s.writer.close();
  });
}

// Where it goes.

TEST_CASE_METHOD(NetTest, "a file is read and written to a pipe") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const UniqueFd reading(ends[0]);
  const std::string content = pattern(300'000);
  const UniqueFd file = file_with(content);
  run([&] {
    auto protocol = std::make_shared<Recorder>();
    await(loop().connect_write_pipe([&] { return protocol; }, ends[1]));
    auto sending = create_task([&] { return sendfile(*protocol->transport, file.get()); });
    std::string received;
    std::string memory(65536, ' ');
    while (received.size() < content.size()) {
      const ssize_t got = ::read(reading.get(), memory.data(), memory.size());
      if (got > 0) received.append(memory.data(), static_cast<std::size_t>(got));
      sleep(0s);
    }
    CHECK(await(sending) == content.size());
    CHECK(same(received, content));
    protocol->transport->close();
  });
}

TEST_CASE_METHOD(Sending,
                 "sendfile is refused after close and write_eof, outside a task, and where there is no transport") {
  CHECK_THROWS_AS(sendfile(*transport, file.get()), InvalidStateError);
  CHECK_THROWS_AS(loop().sendfile(nullptr, file.get()), std::invalid_argument);
  run([&] {
    transport->write_eof();
    CHECK_THROWS_AS(sendfile(*transport, file.get()), InvalidStateError);
    transport->close();
    CHECK_THROWS_AS(sendfile(*transport, file.get()), InvalidStateError);
    while (!protocol->is_lost()) sleep(0s);
  });
}

TEST_CASE_METHOD(Sending, "loop.sendfile is the same for callbacks, and can be cancelled") {
  auto sending = loop().sendfile(transport, file.get(), 10, 20);
  until([&] { return sending.done(); });
  CHECK(sending.result() == 20);
  until([&] { return peer.collect() == content.substr(10, 20); });
  auto another = loop().sendfile(transport, file.get(), 0, std::nullopt, {.fallback = false});
  settle();
  CHECK_FALSE(another.done());
  another.cancel();
  until([&] { return another.done(); });
  CHECK(another.cancelled());
  transport->abort();
  settle();
}

// A socket of one's own.

TEST_CASE_METHOD(NetTest, "sock_sendfile sends a file over a socket of the caller's own, by itself or by copying it") {
  static bool is_refused;
  is_refused = GENERATE(false, true);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd ours(ends[0]);
  Peer peer(ends[1]);
  const std::string content = pattern(file_bytes);
  const UniqueFd file = file_with(content);
  const PatchedSystem patched;
  sys.sendfile = [](int to, int from, off_t* offset, size_t size) {
    return is_refused ? (errno = EINVAL, ssize_t{-1}) : ::sendfile(to, from, offset, size);
  };
  run([&] {
    auto sending = create_task([&] { return sock_sendfile(ours.get(), file.get(), 5, file_bytes); });
    let_others_run(3);
    CHECK_FALSE(sending.done());
    while (peer.collect().size() < file_bytes - 5) sleep(0s);
    CHECK(await(sending) == file_bytes - 5);
    CHECK(same(peer.received, std::string_view(content).substr(5)));
    if (is_refused)
      CHECK(errno_thrown_by([&] { sock_sendfile(ours.get(), file.get(), 0, 1, {.fallback = false}); }) == EINVAL);
    peer.close();
    CHECK_THROWS_AS(sock_sendfile(ours.get(), file.get()), BrokenPipeError);
  });
}

TEST_CASE_METHOD(NetTest, "a cancelled sock_sendfile does not watch the socket any more; a blocking one is refused") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd ours(ends[0]), theirs(ends[1]);
  const UniqueFd file = file_with(pattern(file_bytes));
  CHECK_THROWS_AS(sock_sendfile(ours.get(), file.get()), InvalidStateError);  // no task
  run([&] {
    CHECK_THROWS_AS(sock_sendfile(ours.get(), file.get()), std::invalid_argument);
    ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    auto sending = create_task([&] { sock_sendfile(ours.get(), file.get()); });
    let_others_run(2);
    sending.cancel();
    CHECK_THROWS_AS(await(sending), FutureCancelledError);
    CHECK_FALSE(loop().is_watched(ours.get()));
  });
}
