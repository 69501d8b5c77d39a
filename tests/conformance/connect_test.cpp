// Connecting: semantics row 55, and what may go wrong on the way.
#include <tulp/protocol.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>
#include <tulp/wait.hpp>

#include <arpa/inet.h>
#include <fcntl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/names.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {}  // namespace

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

TEST_CASE_METHOD(CallingNetTest, "if the addresses fail for several reasons the message spells out each") {
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
    Streams streams = open_connection("both.example", listener.port(), {.local_addr = Address::parse("127.0.0.9", 0)});
    CHECK(streams.writer.get_extra_info<Address>("sockname")->host() == "127.0.0.9");
    streams.writer.transport().abort();
    CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port(), {.local_addr = Address::parse("192.0.2.1", 0)}),
                    OsError);
    CHECK_THROWS_AS(open_connection("127.0.0.1", listener.port(), {.local_addr = Address::parse("::1", 0)}), OsError);
  });
}

TEST_CASE_METHOD(CallingNetTest, "a port that is dialled from itself does not talk to itself") {
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

TEST_CASE_METHOD(CallingNetTest, "readiness that is reported before the connection stands is not believed") {
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
  if (has_edges(kind())) too_early = 1;  // one edge is what the kernel gives
  run([&] {
    Streams streams = open_connection("127.0.0.1", listener.port());
    streams.writer.write("it stands");
    streams.writer.drain();
    Peer peer = listener.accept();
    while (peer.collect().size() < 9) sleep(0s);
    CHECK(peer.received == "it stands");
    CHECK(too_early < 0);  // asked until it stood
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(CallingNetTest, "a connect that a signal interrupts goes on in the background and is waited for") {
  const PlainListener listener;
  PatchedSystem patched;
  sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
    ::connect(fd, address, size);
    return errno = EINTR, -1;
  };
  run([&] { open_connection("127.0.0.1", listener.port()).writer.transport().abort(); });
}

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

TEST_CASE_METHOD(NetTest, "an empty host name is a ResolveError, and not this machine") {
  PatchedSystem patched;
  sys.getaddrinfo = [](const char*, const char*, const addrinfo*, addrinfo**) { return std::abort(), 0; };
  const PlainListener listener;
  run([&] { CHECK_THROWS_AS(open_connection("", listener.port()), ResolveError); });
  auto connecting = loop().create_connection(recorder(), "", listener.port());
  CHECK_THROWS_AS(loop().run_until_complete(connecting), ResolveError);
}

TEST_CASE_METHOD(NetTest, "flags of the look-up and the protocol of the socket are what the options say") {
  const PlainListener listener;
  const FakeNames names({"127.0.0.1"});
  static int flags, proto;
  static decltype(sys.getaddrinfo) resolve;
  resolve = std::exchange(sys.getaddrinfo,
                          [](const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
                            flags = hints->ai_flags;
                            return resolve(host, service, hints, found);
                          });
  sys.socket = [](int family, int type, int protocol) {
    proto = protocol;
    return ::socket(family, type, 0);
  };
  run([&] {
    const ConnectOptions options{.proto = IPPROTO_SCTP, .flags = AI_ADDRCONFIG};
    open_connection("name.example", listener.port(), options).writer.transport().abort();
  });
  CHECK(flags == AI_ADDRCONFIG);
  CHECK(proto == IPPROTO_SCTP);
  loop().close();
}

TEST_CASE_METHOD(NetTest, "nodelay is on and keep_alive off, unless the options say otherwise") {
  const PlainListener listener;
  run([&] {
    const auto options_of = [](const StreamWriter& writer) {
      int values[2] = {};
      socklen_t size = sizeof values[0];
      const int socket = writer.get_extra_info<int>("socket").value();
      ::getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &values[0], &size);
      ::getsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &values[1], &size);
      return std::pair(values[0] != 0, values[1] != 0);
    };
    Streams usual = open_connection("127.0.0.1", listener.port());
    CHECK(options_of(usual.writer) == std::pair(true, false));
    Streams other = open_connection("127.0.0.1", listener.port(), {.nodelay = false, .keep_alive = true});
    CHECK(options_of(other.writer) == std::pair(false, true));
    usual.writer.transport().abort();
    other.writer.transport().abort();
  });
}

// Sockets that come from elsewhere.

namespace {

int blocking_connection(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback_address(port);
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

}  // namespace

TEST_CASE_METHOD(NetTest, "a connected socket is used as it is, non-blocking and close-on-exec from then on") {
  const PlainListener listener;
  const int fd = blocking_connection(listener.port());
  auto protocol = std::make_shared<Recorder>();
  loop().run_until_complete(loop().create_connection([&] { return protocol; }, {.sock = fd}));
  CHECK(protocol->transport->get_extra_info<int>("socket") == fd);
  CHECK(protocol->transport->get_extra_info<Address>("peername")->port() == listener.port());
  CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  Peer peer = listener.accept();
  peer.send("hello");
  until([&] { return protocol->received == "hello"; });
  protocol->transport->close();
  until([&] { return peer.is_over(); });
}

TEST_CASE_METHOD(NetTest, "connect_accepted_socket serves what was accepted elsewhere") {
  const PlainListener listener;
  Peer peer = Peer::connect(listener.port());
  auto protocol = std::make_shared<Recorder>();
  const int fd = ::accept(listener.fd(), nullptr, nullptr);
  auto connection = loop().run_until_complete(loop().connect_accepted_socket([&] { return protocol; }, fd));
  CHECK(connection.protocol == protocol);
  CHECK(protocol->trace == Trace{"made"});
  connection.transport->write("welcome");
  connection.transport->close();
  until([&] { return peer.is_over(); });
  CHECK(peer.received == "welcome");
}

TEST_CASE_METHOD(NetTest, "open_connection over a socket gives its streams; one of a pair of Unix sockets does too") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  Peer peer(pair[1]);
  run([&] {
    auto [reader, writer] = open_connection({.sock = pair[0]});
    peer.send("one\ntwo\n");
    CHECK(reader.readline() == "one\n");
    CHECK(reader.readline() == "two\n");
    writer.write("three");
    writer.close();
    writer.wait_closed();
  });
  CHECK(peer.is_over());
  CHECK(peer.received == "three");
}

TEST_CASE_METHOD(NetTest,
                 "a socket and a host, neither of them, and what is no stream socket are the caller's errors") {
  const PlainListener listener;
  const Peer connected(blocking_connection(listener.port()));
  const Peer datagrams(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  CHECK_THROWS_AS(loop().create_connection(recorder(), "localhost", 0, {.sock = connected.fd()}),
                  std::invalid_argument);
  CHECK_THROWS_AS(loop().create_connection(recorder(), "", 80, {.sock = connected.fd()}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_connection(recorder(), ConnectOptions{}), std::invalid_argument);
  for (const int fd : {datagrams.fd(), pipe[0], 9999}) {
    CHECK_THROWS_AS(loop().create_connection(recorder(), {.sock = fd}), std::invalid_argument);
    run([&] { CHECK_THROWS_AS(open_connection({.sock = fd}), std::invalid_argument); });
  }
  CHECK_THROWS_AS(loop().connect_accepted_socket(recorder(), -1), std::invalid_argument);
  CHECK(::fcntl(connected.fd(), F_GETFD) >= 0);  // they are the caller's still
  CHECK(::fcntl(pipe[0], F_GETFD) >= 0);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE_METHOD(NetTest, "a socket that is not connected, or not any more, is an OsError, and closed") {
  const std::size_t before = open_fd_count();
  const int fresh = ::socket(AF_INET, SOCK_STREAM, 0);
  auto connecting = loop().create_connection(recorder(), {.sock = fresh});
  CHECK_THROWS_AS(loop().run_until_complete(connecting), OsError);
  CHECK(errno_of(connecting.exception()) == ENOTCONN);
  {
    const PlainListener listener;
    const int fd = blocking_connection(listener.port());
    listener.accept().reset();
    auto accepted = loop().connect_accepted_socket(recorder(), fd);
    CHECK_THROWS_AS(loop().run_until_complete(accepted), ConnectionResetError);
  }
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(NetTest,
                 "a socket that was given away is closed, even if its Future is cancelled before it has begun") {
  const PlainListener listener;
  Peer peer;
  const std::size_t before = open_fd_count();
  {
    auto connecting = loop().create_connection(recorder(), {.sock = blocking_connection(listener.port())});
    peer = listener.accept();
    connecting.cancel();
    settle();
    CHECK(connecting.cancelled());
  }
  CHECK(peer.is_over());
  CHECK(open_fd_count() == before + 1);
}

TEST_CASE_METHOD(NetTest, "a protocol factory that throws closes the socket, and its exception is the Future's") {
  const PlainListener listener;
  const auto throwing = []() -> std::shared_ptr<Recorder> { throw std::runtime_error("no protocol"); };
  auto over = loop().create_connection(throwing, {.sock = blocking_connection(listener.port())});
  CHECK_THROWS_AS(loop().run_until_complete(over), std::runtime_error);
  CHECK(listener.accept().is_over());
  auto to = loop().create_connection(throwing, "127.0.0.1", listener.port());
  CHECK_THROWS_AS(loop().run_until_complete(to), std::runtime_error);
  CHECK(listener.accept().is_over());
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
