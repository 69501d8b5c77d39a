// What only the loop over io_uring does: its buffers, which all sockets share, its turns between small messages and bulk, and
// what the kernel does not let it do.  What all loops do is in the other files, which it runs through too.
#include <tulp/run.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/names.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Does nothing where the kernel or the build has no io_uring.
template <class Body>
void over_io_uring(Body body) {
  if (!has_io_uring()) return;
  const Watchdog watchdog(60);
  NetTest test(LoopKind::io_uring);
  test.run(body);
}

}  // namespace

TEST_CASE("over io_uring what hundreds leave unread takes no buffer from one who reads, and is read later") {
  over_io_uring([] {
    constexpr std::uint32_t count = 300;
    std::vector<StreamAndPeer> idle;
    for (std::uint32_t i = 0; i < count; ++i) idle.push_back(open_stream());
    for (std::uint32_t i = 0; i < count; ++i)
      for (std::uint32_t at = 0; at < 8; ++at) idle[i].peer.send(pattern(1000, i * 8 + at));
    auto busy = open_stream();
    for (std::uint32_t i = 0; i < 200; ++i) {
      busy.peer.send(pattern(5000, i));
      REQUIRE(busy.reader.readexactly(5000) == pattern(5000, i));
    }
    for (std::uint32_t i = 0; i < count; ++i)
      for (std::uint32_t at = 0; at < 8; ++at) REQUIRE(idle[i].reader.readexactly(1000) == pattern(1000, i * 8 + at));
  });
}

TEST_CASE("over io_uring a connection goes from small messages to bulk and back, and loses nothing") {
  over_io_uring([] {
    auto s = open_stream();
    for (std::uint32_t turn = 0; turn < 3; ++turn) {
      for (std::uint32_t i = 0; i < 20; ++i) {
        s.peer.send(pattern(60, i));
        REQUIRE(s.reader.readexactly(60) == pattern(60, i));
      }
      const std::string much = pattern(3'000'000, turn);
      std::thread sender([&] { s.peer.send(much); });
      const std::string got = s.reader.readexactly(much.size());
      sender.join();
      REQUIRE(got == much);
    }
  });
}

TEST_CASE("over io_uring a peer that is slow to read gets every small message, in order, and then the end") {
  over_io_uring([] {
    auto s = open_stream({}, 4096);
    std::string sent;
    for (std::uint32_t i = 0; i < 4000; ++i) {
      const std::string message = pattern(1 + i * 31 % 3000, i);
      sent += message;
      s.writer.write_nowait(message);
      if (i % 7 == 0) sleep(0s);
    }
    s.writer.write_eof();
    while (!s.peer.is_over()) {
      s.peer.collect(10'000);
      sleep(0s);
    }
    CHECK(s.peer.received == sent);
    CHECK(s.peer.error == 0);
  });
}

TEST_CASE("over io_uring a write in flight when its stream is closed arrives whole") {
  over_io_uring([] {
    auto s = open_stream({}, 4096);
    const std::string much = pattern(300'000, 1);
    for (std::size_t at = 0; at < much.size(); at += 3000)
      s.writer.write_nowait(std::string_view(much).substr(at, 3000));
    s.writer.close();
    while (!s.peer.is_over()) sleep(0s);
    CHECK(s.peer.received == much);
  });
}

TEST_CASE("over io_uring a reset wakes who reads and fails who writes") {
  over_io_uring([] {
    auto s = open_stream();
    auto reading = create_task([&] { return s.reader.read(10); });
    sleep(0s);
    s.peer.reset();
    CHECK_THROWS_AS(await(reading), ConnectionResetError);
    CHECK_THROWS_AS(
        [&] {
          for (int i = 0; i < 100; ++i, sleep(0s)) s.writer.write("to nobody");
        }(),
        OsError);
  });
}

TEST_CASE("over io_uring the ends of hundreds of connections use up no buffers") {
  over_io_uring([] {
    for (std::uint32_t i = 0; i < 600; ++i) {
      auto s = open_stream();
      if (i % 2 == 0) s.peer.send("last words");
      s.peer.close();
      REQUIRE(s.reader.read() == (i % 2 == 0 ? "last words" : ""));
    }
  });
}

TEST_CASE("over io_uring drain() throws if what was written before it could not be sent") {
  over_io_uring([] {
    auto s = open_stream();
    s.peer.reset();
    s.writer.write("to nobody");
    CHECK_THROWS_AS(s.writer.drain(), OsError);
    CHECK_THROWS_AS(s.writer.write("again"), OsError);
  });
}

TEST_CASE("over io_uring a stream that nobody reads learns in the next write what became of the last") {
  over_io_uring([] {
    auto s = open_stream();
    s.peer.reset();
    s.writer.write("to nobody");
    sleep(10ms);
    CHECK_THROWS_AS(s.writer.write("again"), OsError);
  });
}

namespace {

/// Runs `body` with a protocol and its peer, and the loop in no task.
template <class Body>
void with_protocol(Body body) {
  if (!has_io_uring()) return;
  NetTest test(LoopKind::io_uring);
  auto protocol = std::make_shared<Recorder>();
  Peer peer = test.connect(protocol);
  body(test, *protocol, peer);
  if (!protocol->is_lost()) protocol->transport->abort();
  test.until([&] { return protocol->is_lost(); });
}

}  // namespace

TEST_CASE("over io_uring a protocol that has paused reading hears that its write failed") {
  with_protocol([](NetTest& test, Recorder& protocol, Peer& peer) {
    protocol.transport->pause_reading();
    peer.reset();
    protocol.transport->write("to nobody");
    test.until([&] { return protocol.is_lost(); });
    CHECK(errno_of(protocol.lost_with) != 0);
  });
}

TEST_CASE("over io_uring what was written before the loop stops has been sent when it has stopped") {
  with_protocol([](NetTest& test, Recorder& protocol, Peer& peer) {
    SECTION("by run_forever") {
      test.loop().call_soon([&] {
        protocol.transport->write("before I stop");
        test.loop().stop();
      });
      test.loop().run_forever();
    }
    SECTION("by run_once") {
      test.loop().call_soon([&] { protocol.transport->write("before I stop"); });
      test.loop().run_once(RunMode::nowait);
    }
    CHECK(peer.collect() == "before I stop");
  });
}

TEST_CASE("over io_uring a message does not wait for the end of a long turn, if others follow it") {
  if (!has_io_uring()) return;
  NetTest test(LoopKind::io_uring);
  auto first = std::make_shared<Recorder>(), second = std::make_shared<Recorder>();
  Peer first_peer = test.connect(first), second_peer = test.connect(second);
  test.loop().call_soon([&] {
    first->transport->write("early");
    std::this_thread::sleep_for(30ms);  // some ticks of any clock
    second->transport->write("late");
    CHECK(first_peer.collect() == "early");
    test.loop().stop();
  });
  test.loop().run_forever();
  CHECK(second_peer.collect() == "late");
  first->transport->abort();
  second->transport->abort();
  test.until([&] { return first->is_lost() && second->is_lost(); });
}

TEST_CASE("over io_uring what a child process does with a stream sends nothing twice, and ends neither") {
  over_io_uring([] {
    auto s = open_stream();
    s.peer.send("for whoever reads");
    sleep(1ms);
    s.writer.write("once");
    const ChildEnd end = run_in_child([&] {
      try {
        s.writer.write(" more");
        s.writer.drain();
      } catch (const std::exception&) {
      }
      s.writer.close();
      std::_Exit(7);
    });
    CHECK(end.exited_with(7));
    s.writer.write(" only");
    s.writer.drain();
    CHECK(s.peer.collect() == "once only");
    CHECK(s.reader.readexactly(17) == "for whoever reads");
  });
}

TEST_CASE("a loop over io_uring that ran in another thread is closed here, with a thousand connections and more") {
  if (!has_io_uring() || !allow_descriptors(6000)) return;
  constexpr int count = 1200;  // more than the ring asks for at once
  std::vector<UniqueFd> peers;
  const auto loop = new_event_loop({.selector = SelectorKind::io_uring});
  std::thread([&] {
    std::vector<std::shared_ptr<Recorder>> protocols;
    for (int i = 0; i < count; ++i) {
      int ends[2];
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
      peers.emplace_back(ends[0]);
      protocols.push_back(std::make_shared<Recorder>());
      loop->run_until_complete(
          loop->create_connection([&] { return protocols.back(); }, ConnectOptions{.sock = ends[1]}));
      protocols.back()->transport->write("hello");
    }
    loop->run_once(RunMode::nowait);
    for (const auto& protocol : protocols) protocol->transport = nullptr;
  }).join();
  loop->close();
  for (const UniqueFd& peer : peers) {
    std::array<char, 16> text;
    REQUIRE(::recv(peer.get(), text.data(), text.size(), 0) == 5);
    pollfd found{peer.get(), POLLIN, 0};
    REQUIRE(::poll(&found, 1, 5000) == 1);
    REQUIRE(::recv(peer.get(), text.data(), text.size(), 0) == 0);
  }
}

TEST_CASE("over io_uring connecting asks the ring alone") {
  PatchedSystem patched;
  sys.connect = [](int, const sockaddr*, socklen_t) { return std::abort(), 0; };
  sys.getpeername = [](int, sockaddr*, socklen_t*) { return std::abort(), 0; };
  over_io_uring([] {
    auto s = open_stream();
    s.writer.write("it stands");
    s.writer.drain();
    CHECK(s.peer.collect() == "it stands");
  });
}

TEST_CASE("over io_uring more connections are dialled at once than the ring asks for at once") {
  if (!allow_descriptors(6000)) return;
  over_io_uring([] {
    Server server = start_server([](StreamReader reader, StreamWriter writer) { writer.write(reader.readexactly(1)); },
                                 "127.0.0.1", 0, {.backlog = 2000});
    std::vector<Task<std::string>> tasks;
    for (int i = 0; i < 1200; ++i) {
      tasks.push_back(create_task([&, i] {
        auto [reader, writer] = open_connection(server.addresses().front());
        writer.write(std::string(1, static_cast<char>('a' + i % 26)));
        return reader.readexactly(1);
      }));
    }
    for (int i = 0; i < 1200; ++i) REQUIRE(await(tasks[static_cast<std::size_t>(i)]).front() == 'a' + i % 26);
    server.close();
  });
}

TEST_CASE("over io_uring a dead address is given up when the next one answers") {
  const BlackHole nowhere;
  const FakeNames names({"127.0.0.1", "127.0.0.2"});
  over_io_uring([&] {
    Server server =
        start_server([](StreamReader, StreamWriter writer) { writer.write("hello"); }, "127.0.0.2", nowhere.port());
    const std::size_t before = open_fd_count();
    {
      auto [reader, writer] = open_connection("host.example", nowhere.port(), {.happy_eyeballs_delay = 5ms});
      CHECK(reader.read() == "hello");
      CHECK(writer.get_extra_info<Address>("peername")->host() == "127.0.0.2");
    }
    sleep(1ms);
    CHECK(open_fd_count() <= before);
    server.close();
  });
}

namespace {

/// How many sockets of this machine are on their way to that port.
int connecting_count(std::uint16_t port) {
  std::ifstream sockets("/proc/net/tcp");
  std::string number, local, remote, state, rest;
  int count = 0;
  while (sockets >> number >> local >> remote >> state && std::getline(sockets, rest)) {
    const std::size_t colon = remote.find(':');
    const bool is_to_port = colon != std::string::npos && std::stoi(remote.substr(colon + 1), nullptr, 16) == port;
    count += state == "02" && is_to_port ? 1 : 0;  // SYN_SENT
  }
  return count;
}

}  // namespace

TEST_CASE("over io_uring a connection that is given up is not on its way any more") {
  const BlackHole nowhere;
  over_io_uring([&] {
    const int before = connecting_count(nowhere.port());
    auto task = create_task([&] { open_connection("127.0.0.1", nowhere.port()); });
    while (connecting_count(nowhere.port()) == before) sleep(1ms);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(connecting_count(nowhere.port()) == before);
  });
}

TEST_CASE("a loop over io_uring that is closed while it connects leaves nothing") {
  if (!has_io_uring()) return;
  const BlackHole nowhere;
  const std::size_t before = open_fd_count();
  {
    const auto loop = new_event_loop({.selector = SelectorKind::io_uring});
    auto connecting = loop->create_connection([] { return std::make_shared<Recorder>(); }, "127.0.0.1", nowhere.port());
    for (int i = 0; i < 5; ++i) loop->run_once(RunMode::nowait);
    CHECK_FALSE(connecting.done());
    CHECK(open_fd_count() > before);
    loop->close();
  }
  CHECK(open_fd_count() == before);
}

TEST_CASE("a loop over io_uring that gets no descriptor for it says so") {
  if (!has_io_uring()) return;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  none.rlim_cur = 0;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  std::exception_ptr failure;
  try {
    new_event_loop({.selector = SelectorKind::io_uring});
  } catch (...) {
    failure = std::current_exception();  // to be looked at with descriptors, which a sanitizer needs for that
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(errno_of(failure) == EMFILE);
}

TEST_CASE("a loop over io_uring runs in the thread that it ran in first, and says so in another") {
  if (!has_io_uring()) return;
  const auto loop = new_event_loop({.selector = SelectorKind::io_uring});
  std::thread([&] { loop->run_once(RunMode::nowait); }).join();
  loop->call_later(1ms, [] {});
  CHECK_THROWS_AS(loop->run_once(), InvalidStateError);
}

TEST_CASE("a loop over io_uring cannot be a guest") {
  if (!has_io_uring()) return;
  const auto loop = new_event_loop({.selector = SelectorKind::io_uring});
  CHECK_THROWS_AS(loop->backend_fd(), InvalidStateError);
}
