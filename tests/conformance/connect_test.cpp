// Connecting: semantics row 55, and what may go wrong on the way.
#include <tulp/protocol.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>
#include <tulp/wait.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// getaddrinfo() that knows the addresses of one test's names; the last element of an address is its port's offset.
class FakeNames {
 public:
  explicit FakeNames(std::vector<std::string> addresses) {
    table() = std::move(addresses);
    sys.getaddrinfo = [](const char*, const char* service, const addrinfo*, addrinfo** found) {
      *found = nullptr;
      for (auto at = table().rbegin(); at != table().rend(); ++at) {
        addrinfo hints{};
        hints.ai_flags = AI_NUMERICHOST;
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* one = nullptr;
        if (::getaddrinfo(at->c_str(), service, &hints, &one) != 0) return EAI_NONAME;
        one->ai_next = *found;
        *found = one;
      }
      return *found != nullptr ? 0 : EAI_NONAME;
    };
    sys.freeaddrinfo = [](addrinfo* first) {
      while (first != nullptr) {
        addrinfo* next = std::exchange(first->ai_next, nullptr);
        ::freeaddrinfo(first);
        first = next;
      }
    };
  }

 private:
  static std::vector<std::string>& table() {
    static std::vector<std::string> names;
    return names;
  }
  PatchedSystem patched_;
};

auto recorder() {
  return [] { return std::make_shared<Recorder>(); };
}

}  // namespace

TEST_CASE_METHOD(NetTest,
                 "a refused connection is a ConnectionRefusedError that names the address, and leaks nothing") {
  const ClosedPort port;
  auto connecting = loop().create_connection(recorder(), "127.0.0.1", port.port());
  CHECK_THROWS_AS(loop().run_until_complete(connecting), ConnectionRefusedError);
  const std::string target = "127.0.0.1:" + std::to_string(port.port());
  CHECK(message_of([&] { connecting.result(); }) == "connect " + target + ": Connection refused");
}

TEST_CASE_METHOD(NetTest, "open_connection to a refused port throws at the call") {
  const ClosedPort port;
  run([&] { CHECK_THROWS_AS(open_connection("127.0.0.1", port.port()), ConnectionRefusedError); });
}

TEST_CASE_METHOD(NetTest, "a name that does not exist is a ResolveError that names the host") {
  PatchedSystem patched;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return EAI_NONAME; };
  auto connecting = loop().create_connection(recorder(), "no-such-host.example", 80);
  CHECK_THROWS_AS(loop().run_until_complete(connecting), ResolveError);
  CHECK(message_of([&] { connecting.result(); }).find("no-such-host.example") != std::string::npos);
  run([&] {
    try {
      open_connection("no-such-host.example", 80);
      FAIL("it was resolved");
    } catch (const ResolveError& error) {
      CHECK(error.code().value() == EAI_NONAME);
      CHECK(error.code().category() == resolve_category());
    }
  });
}

TEST_CASE_METHOD(NetTest, "a failure of the system while resolving is an OsError with its number") {
  PatchedSystem patched;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) {
    errno = ENFILE;
    return EAI_SYSTEM;
  };
  run([] {
    try {
      open_connection("somewhere.example", 80);
      FAIL("it was resolved");
    } catch (const OsError& error) {
      CHECK(error.code().value() == ENFILE);
    }
  });
}

TEST_CASE_METHOD(NetTest, "names that getaddrinfo would misread are refused without asking it") {
  PatchedSystem patched;
  static int asked;
  asked = 0;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return ++asked, EAI_NONAME; };
  for (const std::string& host :
       {std::string("0x7f000001"), std::string("127.1"), std::string("2130706433"),
        std::string("127.0.0.1\0.example", 18), std::string(256, 'a'), std::string(70'000, 'a'),
        std::string("0177.0.0.1"), std::string("127.0.0.1 example")}) {
    INFO(host.substr(0, 40));
    run([&] { CHECK_THROWS_AS(open_connection(host, 1), ResolveError); });
  }
  CHECK(asked == 0);
}

TEST_CASE_METHOD(NetTest, "a numeric address asks no resolver") {
  PatchedSystem patched;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return std::abort(), 0; };
  const PlainListener listener;
  run([&] { open_connection("127.0.0.1", listener.port()).writer.transport().abort(); });
}

TEST_CASE_METHOD(NetTest, "the family option is observed: an IPv4 address is no IPv6 one") {
  const PlainListener listener;
  run([&] {
    CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port(), {.family = AF_INET6}), ResolveError);
    open_connection("127.0.0.1", listener.port(), {.family = AF_INET}).writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "several addresses are tried in their order, and the first that answers wins") {
  const PlainListener listener;
  const FakeNames names({"127.0.0.2", "127.0.0.1", "127.0.0.3"});
  run([&] {
    Streams streams = open_connection("several.example", listener.port());
    CHECK(streams.writer.get_extra_info<Address>("peername")->host() == "127.0.0.1");
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "if all addresses fail for one reason the error has its kind and lists them all") {
  const ClosedPort port;
  const FakeNames names({"127.0.0.2", "127.0.0.3"});
  const std::string number = std::to_string(port.port());
  run([&] {
    CHECK_THROWS_AS(open_connection("several.example", port.port()), ConnectionRefusedError);
    const std::string message = message_of([&] { open_connection("several.example", port.port()); });
    INFO(message);
    CHECK(message.find("several.example:" + number) != std::string::npos);
    CHECK(message.find("127.0.0.2:" + number) != std::string::npos);
    CHECK(message.find("127.0.0.3:" + number) != std::string::npos);
    CHECK(message.find("Connection refused") != std::string::npos);
  });
}

TEST_CASE_METHOD(NetTest, "if the addresses fail for several reasons the message spells out each") {
  const ClosedPort port;
  const FakeNames names({"127.0.0.2", "127.0.0.3", "127.0.0.4"});
  PatchedSystem patched;
  sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
    const auto host = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
    if ((host & 0xff) == 2) return errno = ENETUNREACH, -1;
    if ((host & 0xff) == 3) return errno = EADDRNOTAVAIL, -1;
    return ::connect(fd, address, size);
  };
  run([&] {
    CHECK_THROWS_AS(open_connection("several.example", port.port()), ConnectionRefusedError);  // the last one's kind
    const std::string message = message_of([&] { open_connection("several.example", port.port()); });
    INFO(message);
    const std::string number = std::to_string(port.port());
    CHECK(message.find("127.0.0.2:" + number + ": Network is unreachable") != std::string::npos);
    CHECK(message.find("127.0.0.3:" + number + ": Cannot assign requested address") != std::string::npos);
    CHECK(message.find("127.0.0.4:" + number + ": Connection refused") != std::string::npos);
  });
}

TEST_CASE_METHOD(NetTest, "an address of a family that the machine does not have is passed over") {
  const PlainListener listener;
  const FakeNames names({"::1", "127.0.0.1"});
  PatchedSystem patched;
  sys.socket = [](int family, int type, int protocol) {
    return family == AF_INET6 ? (errno = EAFNOSUPPORT, -1) : ::socket(family, type, protocol);
  };
  run([&] {
    Streams streams = open_connection("both.example", listener.port());
    CHECK(streams.writer.get_extra_info<Address>("peername")->host() == "127.0.0.1");
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "a local address is where the connection comes from; other families are not tried") {
  const PlainListener listener;
  const FakeNames names({"::1", "127.0.0.1"});
  run([&] {
    Streams streams =
        open_connection("both.example", listener.port(), {.local_address = Address::parse("127.0.0.9", 0)});
    CHECK(streams.writer.get_extra_info<Address>("sockname")->host() == "127.0.0.9");
    streams.writer.transport().abort();
    CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port(), {.local_address = Address::parse("192.0.2.1", 0)}),
                    OsError);
    CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port(), {.local_address = Address::parse("::1", 0)}),
                    OsError);
  });
}

TEST_CASE_METHOD(NetTest, "a port that is dialled from itself does not talk to itself") {
  const PatchedSystem patched;
  // What the kernel sometimes chooses by itself: the local port is the remote one.
  sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
    ::bind(fd, address, size);
    return ::connect(fd, address, size);
  };
  std::uint16_t port = 0;
  {
    const ClosedPort free_port;
    port = free_port.port();
  }
  auto connecting = loop().create_connection(recorder(), "127.0.0.1", port);
  CHECK_THROWS_AS(loop().run_until_complete(connecting), ConnectionRefusedError);
}

TEST_CASE_METHOD(NetTest, "readiness that is reported before the connection stands is not believed") {
  const PlainListener listener;
  PatchedSystem patched;
  static int too_early;
  too_early = 3;
  sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
    const int result = ::connect(fd, address, size);
    return result == 0 ? (errno = EINPROGRESS, -1) : result;
  };
  sys.getpeername = [](int fd, sockaddr* address, socklen_t* size) {
    return too_early-- > 0 ? (errno = ENOTCONN, -1) : ::getpeername(fd, address, size);
  };
  if (kind() == LoopKind::epoll) too_early = 1;  // one edge is what the kernel gives
  run([&] {
    Streams streams = open_connection("127.0.0.1", listener.port());
    streams.writer.write("it stands");
    streams.writer.drain();
    Peer peer = listener.accept();
    CHECK(peer.collect() == "it stands");
    CHECK(too_early < 0);  // asked until it stood
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(NetTest, "a connect that a signal interrupts goes on in the background and is waited for") {
  const PlainListener listener;
  PatchedSystem patched;
  sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
    ::connect(fd, address, size);
    return errno = EINTR, -1;
  };
  run([&] { open_connection("127.0.0.1", listener.port()).writer.transport().abort(); });
}

namespace {

/// An address to which connecting neither succeeds nor fails: the listener's queue is full.
class BlackHole {
 public:
  BlackHole() : listener_(0, 0) {
    // Linux takes one connection more than the backlog, and ignores the rest for seconds.
    for (int i = 0; i < 4; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      const sockaddr_in address = loopback_address(listener_.port());
      static_cast<void>(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
      waiting_.emplace_back(fd);
    }
  }
  std::uint16_t port() const { return listener_.port(); }

 private:
  PlainListener listener_;
  std::vector<Peer> waiting_;
};

}  // namespace

TEST_CASE_METHOD(NetTest, "cancelling the Future of create_connection ends the attempt and closes its socket") {
  const BlackHole nowhere;
  const std::size_t before = open_fd_count();
  auto connecting = loop().create_connection(recorder(), "127.0.0.1", nowhere.port());
  settle();
  CHECK(open_fd_count() == before + 1);
  CHECK_FALSE(connecting.done());
  CHECK(connecting.cancel());
  settle();
  CHECK(connecting.cancelled());
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(NetTest, "cancelling a task in open_connection closes the half-made connection") {
  const BlackHole nowhere;
  const std::size_t before = open_fd_count();
  run([&] {
    auto task = create_task([&] { open_connection("127.0.0.1", nowhere.port()); });
    let_others_run(3);
    CHECK(open_fd_count() == before + 1);
    task.cancel();
    CHECK_THROWS_AS(await(task), FutureCancelledError);
    CHECK(open_fd_count() == before);
  });
}

TEST_CASE_METHOD(NetTest, "the timeout of a connection covers the attempt, names the target and leaks nothing") {
  const BlackHole nowhere;
  const std::size_t before = open_fd_count();
  run([&] {
    const auto start = loop().time();
    CHECK_THROWS_AS(open_connection("127.0.0.1", nowhere.port(), {.timeout = 20ms}), TimeoutError);
    CHECK(loop().time() - start >= 20ms);
    const std::string message = message_of([&] { open_connection("127.0.0.1", nowhere.port(), {.timeout = 1ms}); });
    CHECK(message.find("127.0.0.1:" + std::to_string(nowhere.port())) != std::string::npos);
    CHECK(message.find("timed out") != std::string::npos);
  });
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(NetTest, "cancelling when the connection stands already leaves no connection that nobody knows") {
  const PlainListener listener;
  auto protocol = std::make_shared<Recorder>();
  auto connecting = loop().create_connection([&] { return protocol; }, "127.0.0.1", listener.port());
  protocol->on_made = [&] { connecting.cancel(); };
  settle();
  REQUIRE(connecting.done());
  if (connecting.cancelled()) {
    until([&] { return protocol->is_lost(); });  // made, and taken back
  } else {
    CHECK(connecting.result().protocol == protocol);  // the result won
    protocol->transport->abort();
  }
  settle();
}

TEST_CASE_METHOD(NetTest,
                 "open_connection outside a task throws InvalidStateError, also where it need not have parked") {
  const PlainListener listener;
  CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port()), InvalidStateError);
  loop().call_soon([&] { CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port()), InvalidStateError); });
  settle();
}

TEST_CASE_METHOD(NetTest, "IPv6 works as IPv4 does") {
  run([&] {
    Server server =
        start_server([](StreamReader reader, StreamWriter writer) { writer.write(reader.readline()); }, "::1", 0);
    CHECK(server.addresses().at(0).to_string() == "[::1]:" + std::to_string(server.port()));
    auto [reader, writer] = open_connection("::1", server.port());
    writer.write("six\n");
    CHECK(reader.readline() == "six\n");
    CHECK(writer.get_extra_info<Address>("peername")->to_string() == "[::1]:" + std::to_string(server.port()));
    writer.close();
    server.close();
    server.wait_closed();
  });
}
