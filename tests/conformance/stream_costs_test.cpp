// What streams and transports cost: system calls and allocations, counted.
#include <tulp/protocol.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <array>
#include <climits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/allocations.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Counts the calls that move bytes.
class CountedCalls {
 public:
  CountedCalls() {
    reset();
    sys.recv = [](int fd, void* into, size_t size, int flags) {
      ++receives;
      const ssize_t result = ::recv(fd, into, size, flags);
      if (result < 0 && errno == EAGAIN) ++blocked;
      return result;
    };
    sys.recvmsg = [](int fd, msghdr* message, int flags) {
      ++receives;
      const ssize_t result = ::recvmsg(fd, message, flags);
      if (result < 0 && errno == EAGAIN) ++blocked;
      return result;
    };
    sys.send = [](int fd, const void* data, size_t size, int flags) {
      ++sends;
      const ssize_t result = ::send(fd, data, size, flags);
      if (result < 0 && errno == EAGAIN) ++blocked;
      return result;
    };
    sys.sendmsg = [](int fd, const msghdr* message, int flags) {
      ++sends;
      const ssize_t result = ::sendmsg(fd, message, flags);
      if (result < 0 && errno == EAGAIN) ++blocked;
      return result;
    };
    sys.epoll_ctl = [](int epoll, int operation, int fd, epoll_event* event) {
      ++registrations;
      return original.epoll_ctl(epoll, operation, fd, event);
    };
  }
  void reset() { receives = sends = blocked = registrations = 0; }

  static inline int receives, sends, blocked, registrations;

 private:
  static inline const SystemCalls original = sys;
  PatchedSystem patched_;
};

/// Sends `request` and lets others run until as much has come back; allocates nothing.
void exchange_with(const Peer& peer, std::string_view request) {
  REQUIRE(::send(peer.fd(), request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  std::array<char, 4096> back{};
  std::size_t got = 0;
  while (got < request.size()) {
    const ssize_t n = ::recv(peer.fd(), back.data(), back.size(), MSG_DONTWAIT);
    if (n > 0)
      got += static_cast<std::size_t>(n);
    else
      sleep(0s);
  }
}

void echo(StreamReader reader, StreamWriter writer) {
  std::array<char, 4096> memory;
  while (const std::size_t size = reader.read_into(memory)) writer.write({memory.data(), size});
}

struct CountedEcho : Protocol {
  void connection_made(std::shared_ptr<Transport> made) override { transport = made.get(); }
  void data_received(std::string_view data) override { transport->write(data); }
  Transport* transport = nullptr;
};

}  // namespace

TEST_CASE_METHOD(CallingNetTest, "small writes that were gathered leave in one system call") {
  run([&] {
    auto s = open_stream();
    CountedCalls calls;
    for (int i = 0; i < 10; ++i) s.writer.write("one of ten ");
    CHECK(calls.sends == 0);
    sleep(0s);
    CHECK(calls.sends == 1);
    CHECK(s.peer.collect().size() == 110);
    for (int i = 0; i < 10; ++i) s.writer.write("one of ten ");
    s.writer.drain();
    CHECK(calls.sends == 2);
    s.writer.write("small");
    s.writer.write(std::string(10'000, 'x'));  // goes at once, with what waits
    CHECK(calls.sends == 3);
    s.writer.write("the last");
    s.writer.close();
    CHECK(calls.sends == 4);
    CHECK(calls.blocked == 0);
  });
}

namespace {

/// Where the pieces lay that sendmsg was given.
std::vector<const void*> sent_from;

}  // namespace

TEST_CASE_METHOD(CallingNetTest, "a transport's writelines is one system call, which takes the pieces where they are") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  const std::size_t count = GENERATE(2, 15, 16, 50, 1000);
  const std::string memory = pattern(count * 10);
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < count; ++i) pieces.push_back(std::string_view(memory).substr(i * 10, 10));
  protocol->transport->writelines(pieces);  // allocates what the loop keeps for the next ones
  const CountedCalls calls;
  sent_from.clear();
  sent_from.reserve(count);
  sys.sendmsg = [](int fd, const msghdr* message, int flags) {
    ++CountedCalls::sends;
    for (std::size_t i = 0; i < message->msg_iovlen; ++i) sent_from.push_back(message->msg_iov[i].iov_base);
    return ::sendmsg(fd, message, flags);
  };
  const AllocationCount allocations;
  protocol->transport->writelines(pieces);
  CHECK(allocations.count() == 0);
  CHECK(calls.sends == 1);
  REQUIRE(sent_from.size() == count);
  for (std::size_t i = 0; i < count; ++i) CHECK(sent_from[i] == pieces[i].data());
  CHECK(protocol->transport->get_write_buffer_size() == 0);
  until([&] { return peer.collect().size() >= 2 * memory.size(); });
  CHECK(peer.received == memory + memory);
  protocol->transport->close();
  settle();
}

TEST_CASE_METHOD(CallingNetTest,
                 "a stream's writelines of more than may be gathered is one system call, with what waits") {
  run([&] {
    auto s = open_stream();
    const std::string memory = pattern(100'000);
    std::vector<std::string_view> pieces;
    for (std::size_t i = 0; i < 10; ++i) pieces.push_back(std::string_view(memory).substr(i * 10'000, 10'000));
    const CountedCalls calls;
    s.writer.write("waits");
    s.writer.writelines(pieces);
    CHECK(calls.sends == 1);
    CHECK(s.writer.transport().get_write_buffer_size() == 0);
    s.writer.writelines(std::vector<std::string_view>(10, "small"));
    CHECK(calls.sends == 1);
    s.writer.drain();
    CHECK(calls.sends == 2);
    while (s.peer.collect().size() < 5 + memory.size() + 50) sleep(0s);
    CHECK(s.peer.received.substr(0, 5 + memory.size()) == "waits" + memory);
    s.writer.close();
  });
}

TEST_CASE_METHOD(CallingNetTest,
                 "writelines of more pieces than a system call takes needs no more calls than it must") {
  auto protocol = std::make_shared<Recorder>();
  Peer peer = connect(protocol);
  const std::string memory = pattern(3000);
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < memory.size(); ++i) pieces.push_back(std::string_view(memory).substr(i, 1));
  pieces.insert(pieces.begin() + 500, 5000, "");  // which do not count
  const CountedCalls calls;
  protocol->transport->writelines(pieces);
  CHECK(calls.sends == (static_cast<int>(memory.size()) + IOV_MAX - 1) / IOV_MAX);
  until([&] { return peer.collect().size() >= memory.size(); });
  CHECK(peer.received == memory);
  protocol->transport->close();
  settle();
}

TEST_CASE_METHOD(CallingNetTest,
                 "an echo over a stream costs one recv and one send for each message, and no look in vain") {
  const bool is_unix = GENERATE(false, true);
  CAPTURE(is_unix);
  const Folder folder;
  run([&] {
    Server server = is_unix ? start_unix_server(echo, folder / "socket") : start_server(echo, "127.0.0.1", 0);
    Peer peer = is_unix ? connect_plainly(folder / "socket") : Peer::connect(server.port());
    exchange_with(peer, "warm");
    CountedCalls calls;
    for (int i = 0; i < 100; ++i) exchange_with(peer, "sixty-four bytes, or nearly so, are a message of middling size");
    CHECK(calls.receives == 100);
    CHECK(calls.sends == 100);
    CHECK(calls.blocked == 0);
    CHECK(calls.registrations == 0);
    peer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(NetTest, "who connects and is spoken to later does not look in vain before") {
  if (kind() != LoopKind::epoll) return;  // the others do not tell of what nobody has waited for
  run([&] {
    const PlainListener listener;
    const CountedCalls calls;
    auto [reader, writer] = open_connection("127.0.0.1", listener.port());
    Peer peer = listener.accept();
    auto greeting = create_task([&reader = reader] { return reader.read(100); });
    sleep(0s);
    peer.send("220 hello");
    CHECK(await(greeting) == "220 hello");
    CHECK(calls.receives == 1);
    CHECK(calls.blocked == 0);
    writer.close();
  });
}

TEST_CASE_METHOD(CallingNetTest, "an echo over a protocol costs the same") {
  auto protocol = std::make_shared<CountedEcho>();
  Peer peer = connect(protocol);
  run([&] {
    exchange_with(peer, "warm");
    CountedCalls calls;
    for (int i = 0; i < 100; ++i) exchange_with(peer, "a message");
    CHECK(calls.receives == 100);
    CHECK(calls.sends == 100);
    CHECK(calls.blocked == 0);
    CHECK(calls.registrations == 0);
  });
  peer.close();
  settle();
}

TEST_CASE_METHOD(CallingNetTest, "a server of pipelined records costs one recv and one send for each batch of them") {
  run([&] {
    Server server = start_server(
        [](StreamReader reader, StreamWriter writer) {
          std::array<char, 64> record;
          try {
            for (;;) {
              reader.readexactly_into(record);
              writer.write({record.data(), record.size()});
            }
          } catch (const IncompleteReadError&) {
          }
        },
        "127.0.0.1", 0);
    Peer peer = Peer::connect(server.port());
    const std::string batch = pattern(16 * 64);
    exchange_with(peer, batch);
    CountedCalls calls;
    for (int i = 0; i < 50; ++i) exchange_with(peer, batch);
    CHECK(calls.receives == 50);
    CHECK(calls.sends == 50);
    CHECK(calls.blocked == 0);
    peer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(CallingNetTest, "lines that come together are read with one recv") {
  run([&] {
    auto s = open_stream();
    s.peer.send("one\ntwo\nthree\nfour\n");
    const CountedCalls calls;
    std::string line;
    for (int i = 0; i < 4; ++i) CHECK(s.reader.readline_into(line));
    CHECK(calls.receives == 1);
    s.writer.close();
  });
}

TEST_CASE_METHOD(CallingNetTest,
                 "a connection is registered with the selector a bounded number of times, however much it moves") {
  if (kind() != LoopKind::epoll) return;
  run([&] {
    CountedCalls calls;
    auto s = open_stream();
    CHECK(calls.registrations <= 3);  // for connecting, and for its life
    calls.reset();
    for (int i = 0; i < 100; ++i) {
      auto reading = create_task([&] { return s.reader.read(10); });
      sleep(0s);
      s.peer.send("x");
      CHECK(await(reading) == "x");
      s.writer.write("y");
      s.writer.drain();
    }
    CHECK(calls.registrations == 0);
    s.writer.close();
    s.writer.wait_closed();
    CHECK(calls.registrations == 0);  // epoll hears of the close by itself
  });
}

TEST_CASE_METHOD(NetTest, "steady echoing over a stream or a protocol allocates nothing") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;  // that loop allocates in each wait
  auto protocol = std::make_shared<CountedEcho>();
  Peer protocol_peer = connect(protocol);
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0);
    Server lines = start_server(
        [](StreamReader reader, StreamWriter writer) {
          for (std::string line; reader.readline_into(line);) writer.write(line);
        },
        "127.0.0.1", 0);
    Peer peer = Peer::connect(server.port());
    Peer line_peer = Peer::connect(lines.port());
    const std::string message(200, 'm'), line = message + '\n';
    auto round = [&] {
      exchange_with(peer, message);
      exchange_with(line_peer, line);
      exchange_with(protocol_peer, message);
    };
    for (int i = 0; i < 20; ++i) round();
    const AllocationCount allocations;
    for (int i = 0; i < 200; ++i) round();
    CHECK(allocations.count() == 0);
    peer.close();
    line_peer.close();
    server.close();
    lines.close();
    server.wait_closed();
    lines.wait_closed();
  });
  protocol_peer.close();
  settle();
}

TEST_CASE_METHOD(NetTest, "a task that writes to many connections before it parks allocates nothing") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;
  run([&] {
    std::vector<StreamAndPeer> connections;
    for (int i = 0; i < 20; ++i) connections.push_back(open_stream());
    const auto round = [&] {
      for (StreamAndPeer& each : connections) each.writer.write("to all of them");
      sleep(0s);
    };
    for (int i = 0; i < 20; ++i) round();
    const AllocationCount allocations;
    for (int i = 0; i < 100; ++i) round();
    CHECK(allocations.count() == 0);
    for (StreamAndPeer& each : connections) each.writer.close();
  });
}

TEST_CASE_METHOD(NetTest, "waiting for the kernel to take a large write allocates nothing") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;
  run([&] {
    auto s = open_stream({}, 4096);
    const std::string much(2'000'000, 'x');
    static std::array<char, 65536> memory;
    auto round = [&] {
      std::size_t got = 0;
      auto writing = create_task([&] { s.writer.write(much); });
      sleep(0s);
      const AllocationCount allocations;
      while (got < much.size()) {
        const ssize_t n = ::recv(s.peer.fd(), memory.data(), memory.size(), MSG_DONTWAIT);
        if (n > 0)
          got += static_cast<std::size_t>(n);
        else
          sleep(0s);
      }
      const std::size_t count = allocations.count();
      await(writing);
      return count;
    };
    round();
    CHECK(round() <= 2);  // the queue's memory, which is given back after a burst
    s.writer.close();
  });
}
