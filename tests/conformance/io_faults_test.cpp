// Connections over a kernel that interrupts, hesitates, cuts short and fails.
#include <tulp/protocol.hpp>
#include <tulp/run.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/bad_kernel.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Sends `size` bytes through an echo server and back, over streams, and checks them.
void echo_through(std::size_t size) {
  Server server = start_server(
      [](StreamReader reader, StreamWriter writer) {
        for (std::string data; !(data = reader.read(5000)).empty();) writer.write(data);
      },
      "127.0.0.1", 0);
  auto [reader, writer] = open_connection("127.0.0.1", server.port());
  const std::string sent = pattern(size);
  auto sending = create_task([&, &writer = writer] {
    writer.write(sent);
    writer.write_eof();
  });
  CHECK(same(reader.read(), sent));
  await(sending);
  writer.close();
  writer.wait_closed();
  server.close();
  server.wait_closed();
}

/// The same through protocols, without a fiber.
struct EchoProtocol : Protocol {
  void connection_made(std::shared_ptr<Transport> made) override { transport = made; }
  void data_received(std::string_view data) override { transport.lock()->write(data); }
  std::weak_ptr<Transport> transport;
};

class IoFaults : public CallingNetTest {
 public:
  void echo_through_protocols(std::size_t size) {
    auto serving = loop().create_server([] { return std::make_shared<EchoProtocol>(); }, "127.0.0.1", 0);
    Server server = loop().run_until_complete(serving);
    auto client = std::make_shared<Recorder>();
    const std::string sent = pattern(size);
    client->on_made = [&] {
      client->transport->write(sent);
      client->transport->write_eof();
    };
    auto connecting = loop().create_connection([&] { return client; }, "127.0.0.1", server.port());
    loop().run_until_complete(connecting);
    until([&] { return client->is_lost(); });
    CHECK(same(client->received, sent));
    CHECK(client->lost_with == nullptr);
    server.close();
    settle();
  }
};

}  // namespace

TEST_CASE_METHOD(IoFaults, "interrupted system calls are invisible") {
  const BadKernel bad;
  sys.recv = [](int fd, void* into, size_t size, int flags) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1) : ::recv(fd, into, size, flags);
  };
  sys.send = [](int fd, const void* data, size_t size, int flags) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1) : ::send(fd, data, size, flags);
  };
  sys.sendmsg = [](int fd, const msghdr* message, int flags) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1) : ::sendmsg(fd, message, flags);
  };
  sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1) : ::accept4(fd, address, size, flags);
  };
  sys.poll = [](pollfd* fds, nfds_t count, int timeout) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1) : ::poll(fds, count, timeout);
  };
  sys.select = [](int count, fd_set* readable, fd_set* writable, fd_set* exceptional, timeval* timeout) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1) : ::select(count, readable, writable, exceptional, timeout);
  };
  sys.epoll_wait = [](int epoll, epoll_event* events, int capacity, int timeout) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1)
                                   : BadKernel::original.epoll_wait(epoll, events, capacity, timeout);
  };
  sys.epoll_pwait2 = [](int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
    return BadKernel::misbehaves() ? (errno = EINTR, -1)
                                   : BadKernel::original.epoll_pwait2(epoll, events, capacity, timeout, mask);
  };
  run([] { echo_through(1'000'000); });
  echo_through_protocols(1'000'000);
  CHECK(bad.calls() > 10);
}

TEST_CASE_METHOD(IoFaults, "EAGAIN after readiness was reported is no error and loses nothing") {
  const BadKernel bad;
  sys.recv = [](int fd, void* into, size_t size, int flags) {
    if (!BadKernel::misbehaves()) return ::recv(fd, into, size, flags);
    return BadKernel::make_edge(fd), errno = EAGAIN, ssize_t{-1};
  };
  sys.send = [](int fd, const void* data, size_t size, int flags) {
    if (!BadKernel::misbehaves()) return ::send(fd, data, size, flags);
    return BadKernel::make_edge(fd), errno = EAGAIN, ssize_t{-1};
  };
  sys.sendmsg = [](int fd, const msghdr* message, int flags) {
    if (!BadKernel::misbehaves()) return ::sendmsg(fd, message, flags);
    return BadKernel::make_edge(fd), errno = EAGAIN, ssize_t{-1};
  };
  sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
    if (!BadKernel::misbehaves()) return ::accept4(fd, address, size, flags);
    return BadKernel::make_edge(fd), errno = EAGAIN, -1;
  };
  run([] { echo_through(1'000'000); });
  echo_through_protocols(1'000'000);
}

TEST_CASE_METHOD(IoFaults, "one byte at a time, in and out, gives the same bytes") {
  const BadKernel bad;
  sys.recv = [](int fd, void* into, size_t size, int flags) {
    BadKernel::make_edge(fd);
    return ::recv(fd, into, size > 0 ? 1 : 0, flags);
  };
  sys.send = [](int fd, const void* data, size_t size, int flags) {
    BadKernel::make_edge(fd);
    return ::send(fd, data, size > 0 ? 1 : 0, flags);
  };
  sys.sendmsg = [](int fd, const msghdr* message, int flags) {
    BadKernel::make_edge(fd);
    return ::send(fd, message->msg_iov[0].iov_base, 1, flags);
  };
  run([] { echo_through(20'000); });
  echo_through_protocols(20'000);
}

TEST_CASE_METHOD(IoFaults,
                 "a send cut short at every offset of a gathered and a large piece loses and repeats nothing") {
  const std::string small = pattern(50, 1), large = pattern(5'000, 2);
  static std::size_t cut;
  for (const std::size_t at : {1, 2, 49, 50, 51, 100, 5'000, 5'049}) {
    const BadKernel bad;
    cut = at;
    sys.sendmsg = [](int fd, const msghdr* message, int flags) {
      if (cut == 0) return ::sendmsg(fd, message, flags);
      std::string flat;
      for (std::size_t i = 0; i < message->msg_iovlen; ++i)
        flat.append(static_cast<const char*>(message->msg_iov[i].iov_base), message->msg_iov[i].iov_len);
      BadKernel::make_edge(fd);
      return ::send(fd, flat.data(), std::exchange(cut, 0), flags);
    };
    run([&] {
      auto s = open_stream();
      s.writer.write(small);
      s.writer.write(large);
      s.writer.close();
      while (!s.peer.is_over()) sleep(0s);
      CHECK(same(s.peer.received, small + large));
    });
    CHECK(cut == 0);
  }
}

namespace {

/// A kernel that sends only so many bytes, once.
class CuttingKernel : public BadKernel {
 public:
  CuttingKernel() {
    sys.sendmsg = [](int fd, const msghdr* message, int flags) {
      if (std::exchange(has_cut, true)) return ::sendmsg(fd, message, flags);
      BadKernel::make_edge(fd);
      if (cut == 0) return errno = EAGAIN, ssize_t{-1};
      std::string flat;
      for (std::size_t i = 0; i < message->msg_iovlen; ++i)
        flat.append(static_cast<const char*>(message->msg_iov[i].iov_base), message->msg_iov[i].iov_len);
      return ::send(fd, flat.data(), std::min(cut, flat.size()), flags);
    };
  }
  void cut_next_at(std::size_t size) {
    cut = size;
    has_cut = false;
  }

 private:
  static inline std::size_t cut;
  static inline bool has_cut;
};

}  // namespace

TEST_CASE_METHOD(IoFaults, "a writelines cut short at every offset of its pieces loses and repeats nothing") {
  const std::vector<std::string_view> pieces{"one", "", "two", "three", "", "", "4", "five and six"};
  std::string whole;
  for (const std::string_view piece : pieces) whole += piece;
  CuttingKernel kernel;
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  std::string expected;
  for (std::size_t at = 0; at <= whole.size(); ++at) {
    kernel.cut_next_at(at);
    protocol->transport->writelines(pieces);
    CHECK(protocol->transport->get_write_buffer_size() <= whole.size() - at);  // the rest alone has been copied
    protocol->transport->write("/");
    expected += whole + '/';
    until([&] { return peer.collect().size() >= expected.size(); });
    CHECK(peer.received == expected);
  }
  protocol->transport->abort();
  settle();
}

TEST_CASE_METHOD(IoFaults, "a writelines cut short next to the most pieces that a system call takes loses nothing") {
  const std::string memory = pattern(3000);
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < memory.size(); ++i) pieces.push_back(std::string_view(memory).substr(i, 1));
  for (const std::size_t at : {0, 1, IOV_MAX - 1, IOV_MAX, IOV_MAX + 1}) {
    CuttingKernel kernel;
    auto protocol = std::make_shared<Recorder>();
    Peer peer = connect(protocol);
    kernel.cut_next_at(at);
    protocol->transport->writelines(pieces);
    until([&] { return peer.collect().size() >= memory.size(); });
    CHECK(peer.received == memory);
    protocol->transport->abort();
    settle();
  }
}

TEST_CASE_METHOD(IoFaults, "a writelines that fails in its middle ends the connection, and nothing is kept") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  const PatchedSystem patched;
  sys.sendmsg = [](int, const msghdr*, int) { return errno = ECONNRESET, ssize_t{-1}; };
  const std::string_view pieces[] = {"one", "two"};
  protocol->transport->writelines(pieces);
  CHECK(protocol->transport->get_write_buffer_size() == 0);
  until([&] { return protocol->is_lost(); });
  CHECK(errno_of(protocol->lost_with) == ECONNRESET);
}

TEST_CASE_METHOD(IoFaults, "a failing recv and a failing send are errors with their numbers") {
  run([&] {
    for (const int error : {ENOMEM, ETIMEDOUT, EHOSTUNREACH, ECONNRESET}) {
      static int error_number;
      error_number = error;
      auto s = open_stream();
      const PatchedSystem patched;
      sys.recv = [](int, void*, size_t, int) { return errno = error_number, ssize_t{-1}; };
      s.peer.send("x");
      try {
        s.reader.read(1);
        FAIL("it was read");
      } catch (const OsError& e) {
        CHECK(e.code().value() == error);
      }
      auto other = open_stream();
      sys.send = [](int, const void*, size_t, int) { return errno = error_number, ssize_t{-1}; };
      other.writer.write("x");
      try {
        other.writer.drain();
        FAIL("it was sent");
      } catch (const OsError& e) {
        CHECK(e.code().value() == error);
      }
      s.writer.close();
      other.writer.close();
    }
  });
}

TEST_CASE_METHOD(IoFaults, "an error of reading a pipe is told, and not taken for its end as that of a terminal is") {
  run([] {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    auto reader = open_read_pipe(ends[0]);
    static int failing;
    failing = ends[0];
    const PatchedSystem patched;
    sys.read = [](int fd, void* into, size_t size) {
      return fd == failing ? (errno = EIO, ssize_t{-1}) : ::read(fd, into, size);
    };
    CHECK(::write(ends[1], "x", 1) == 1);
    try {
      reader.read();
      FAIL("it was read");
    } catch (const OsError& error) {
      CHECK(error.code().value() == EIO);
    }
    ::close(ends[1]);
  });
}

TEST_CASE_METHOD(IoFaults,
                 "a bare ::close of a stream's socket leaves its reader cancellable, and other connections whole") {
  run([&] {
    auto s = open_stream();
    const int fd = *s.writer.get_extra_info<int>("socket");
    auto reading = create_task([&] { s.reader.read(1); });
    let_others_run(3);
    const int other = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(::dup2(other, fd) == fd);  // closes it, and the number is somebody else's
    ::close(other);
    sleep(1ms);  // poll and select have called it readable by now, and the reader has heard what is wrong
    reading.cancel();
    if (kind() == LoopKind::epoll)
      CHECK_THROWS_AS(await(reading), FutureCancelledError);
    else
      CHECK_THROWS_AS(await(reading), OsError);
    echo_through(100'000);
    s.writer.transport().abort();
    try {
      s.writer.wait_closed();
    } catch (const OsError&) {  // the reader's
    }
  });
}

TEST_CASE("a loop that cannot get its descriptors throws OsError and leaks nothing") {
  const std::size_t fds = open_fd_count();
  const PatchedSystem patched;
  sys.eventfd = [](unsigned, int) { return errno = EMFILE, -1; };
  CHECK_THROWS_AS(new_event_loop({.selector = any_selector()}), OsError);
  CHECK(open_fd_count() == fds);
  sys.epoll_create1 = [](int) { return errno = EMFILE, -1; };
  CHECK_THROWS_AS(run([] {}, {.loop = {.selector = SelectorKind::epoll}}), OsError);
  CHECK(open_fd_count() == fds);
}
