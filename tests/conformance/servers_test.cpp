// Servers: semantics rows 56, 57 and 75, modern rows 25 to 27, and what accept(2) may bring.
#include <tulp/protocol.hpp>
#include <tulp/server.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>

#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/serving.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// accept4() that fails with one error for so many times.
class FailingAccept {
 public:
  FailingAccept(int error, int times) {
    error_number = error;
    left = times;
    calls = 0;
    sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
      ++calls;
      if (left == 0) return ::accept4(fd, address, size, flags);
      pollfd waiting{fd, POLLIN, 0};
      if (::poll(&waiting, 1, 0) != 1) return errno = EAGAIN, -1;  // nobody is there whom it could concern
      --left;
      return errno = error_number, -1;
    };
  }
  static inline int error_number, left, calls;

 private:
  PatchedSystem patched_;
};

}  // namespace

TEST_CASE_METHOD(Serving, "create_server listens when its Future is done, and makes a protocol for each connection") {
  Server server = serve();
  CHECK(server.is_serving());
  REQUIRE(server.addresses().size() == 1);
  CHECK(server.addresses()[0].to_string() == "127.0.0.1:" + std::to_string(server.port()));
  CHECK(server.port() != 0);
  CHECK(protocols.empty());
  Peer first = Peer::connect(server.port());
  wait_for(1);
  Peer second = Peer::connect(server.port());
  wait_for(2);
  first.send("1");
  second.send("2");
  until([&] { return protocols[0]->received == "1" && protocols[1]->received == "2"; });
  CHECK(protocols[0]->transport->get_extra_info<Address>("sockname") == server.addresses()[0]);
  CHECK(protocols[0]->trace == Trace{"made", "data"});
  end(server);
}

TEST_CASE_METHOD(Serving, "an accepted socket is non-blocking, close-on-exec and without delay") {
  Server server = serve();
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  const int socket = *protocols[0]->transport->get_extra_info<int>("socket");
  CHECK((::fcntl(socket, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(socket, F_GETFD) & FD_CLOEXEC) != 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  CHECK(::getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
  CHECK(no_delay == 1);
  end(server);
}

TEST_CASE_METHOD(Serving, "an empty host is every address of the machine, all on the one port that was chosen for 0") {
  Server server = serve("");
  std::set<int> families;
  for (const Address& address : server.addresses()) {
    CHECK(address.port() == server.port());
    families.insert(address.family());
  }
  CHECK(families.count(AF_INET) == 1);
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  if (families.count(AF_INET6) == 1) {
    const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    address.sin6_port = htons(server.port());
    CHECK(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const Peer six(fd);
    wait_for(2);
  }
  end(server);
}

TEST_CASE_METHOD(Serving, "an address in use is an OsError with EADDRINUSE that names it") {
  Server server = serve();
  auto second = loop().create_server([] { return std::make_shared<Recorder>(); }, "127.0.0.1", server.port());
  try {
    loop().run_until_complete(second);
    FAIL("two servers on one port");
  } catch (const OsError& error) {
    CHECK(error.code().value() == EADDRINUSE);
    CHECK(std::string(error.what()).find(server.addresses()[0].to_string()) != std::string::npos);
  }
  end(server);
}

TEST_CASE_METHOD(Serving, "if one of several addresses cannot be bound, none stays open") {
  PatchedSystem patched;
  static int binds;
  binds = 0;
  sys.bind = [](int fd, const sockaddr* address, socklen_t size) {
    return ++binds == 2 ? (errno = EACCES, -1) : ::bind(fd, address, size);
  };
  const std::size_t before = open_fd_count();
  auto serving = loop().create_server([] { return std::make_shared<Recorder>(); }, "", 0);
  try {
    loop().run_until_complete(serving);
    CHECK(binds < 2);  // a machine with one family
  } catch (const OsError& error) {
    CHECK(error.code().value() == EACCES);
    CHECK(open_fd_count() == before);
  }
}

TEST_CASE_METHOD(Serving, "a port can be bound again at once: reuse_address") {
  Server server = serve();
  const std::uint16_t port = server.port();
  Peer peer = Peer::connect(port);
  wait_for(1);
  protocols[0]->transport->close();  // this side closes first, and keeps the address in TIME_WAIT
  until([&] { return peer.is_over(); });
  peer.close();
  server.close();
  settle();
  auto again = loop().create_server([] { return std::make_shared<Recorder>(); }, "127.0.0.1", port);
  Server second = loop().run_until_complete(again);
  CHECK(second.port() == port);
  end(second);
}

TEST_CASE_METHOD(Serving, "with reuse_port two servers share a port") {
  Server server = serve("127.0.0.1", {.reuse_port = true});
  auto again = loop().create_server([] { return std::make_shared<Recorder>(); }, "127.0.0.1", server.port(),
                                    {.reuse_port = true});
  Server second = loop().run_until_complete(again);
  CHECK(second.port() == server.port());
  second.close();
  end(server);
}

TEST_CASE_METHOD(Serving,
                 "close stops accepting at once and leaves the connections that stand alone; it may be repeated") {
  Server server = serve();
  const std::uint16_t port = server.port();
  Peer peer = Peer::connect(port);
  wait_for(1);
  server.close();
  server.close();
  CHECK_FALSE(server.is_serving());
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const Peer late(fd);
  const sockaddr_in address = loopback_address(port);
  const auto connect = [&] { return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address); };
  CHECK(tulp::retry_on_eintr(connect) == -1);  // a ring's work interrupts what has a time limit
  CHECK(errno == ECONNREFUSED);
  peer.send("still there");
  until([&] { return protocols[0]->received == "still there"; });
  end(server);
}

TEST_CASE_METHOD(Serving, "the addresses of a closed server can be asked for without harm") {
  Server server = serve();
  end(server);
  CHECK_NOTHROW(server.addresses());
  try {
    CHECK(server.port() != 0);
  } catch (const InvalidStateError&) {
  }
}

TEST_CASE_METHOD(Serving, "dropping the handle changes nothing: the loop owns the server") {
  std::uint16_t port = 0;
  {
    Server server = serve();
    port = server.port();
  }
  settle();
  Peer peer = Peer::connect(port);
  wait_for(1);
  protocols[0]->transport->abort();
  settle();
}

TEST_CASE_METHOD(Serving, "wait_closed parks until the server is closed and the last connection is gone") {
  Server server = serve();
  Peer first = Peer::connect(server.port());
  wait_for(1);
  Peer second = Peer::connect(server.port());
  wait_for(2);
  auto waiting = create_task([&] { server.wait_closed(); });
  settle();
  CHECK_FALSE(waiting.done());
  server.close();
  settle();
  CHECK_FALSE(waiting.done());
  first.close();
  until([&] { return protocols[0]->is_lost(); });
  settle();
  CHECK_FALSE(waiting.done());
  second.close();
  loop().run_until_complete(Future<>(waiting));
  run([&] { server.wait_closed(); });  // and again
}

TEST_CASE_METHOD(Serving, "wait_closed of a server that never had a connection returns after close") {
  Server server = serve();
  auto waiting = create_task([&] { server.wait_closed(); });
  settle();
  CHECK_FALSE(waiting.done());
  server.close();
  loop().run_until_complete(Future<>(waiting));
}

TEST_CASE_METHOD(Serving, "serve_forever parks until close") {
  Server server = serve();
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  auto serving = create_task([&] { server.serve_forever(); });
  settle();
  CHECK_FALSE(serving.done());
  server.close();
  settle();
  CHECK(serving.done());
  end(server);
  settle();
  CHECK(serving.done());
}

TEST_CASE_METHOD(Serving, "cancelling serve_forever closes the server") {
  Server server = serve();
  auto serving = create_task([&] { server.serve_forever(); });
  settle();
  serving.cancel();
  settle();
  CHECK(serving.cancelled());
  CHECK_FALSE(server.is_serving());
  end(server);
}

TEST_CASE_METHOD(Serving, "wait_closed and serve_forever outside a task throw InvalidStateError") {
  Server server = serve();
  CHECK_THROWS_AS(server.wait_closed(), InvalidStateError);
  CHECK_THROWS_AS(server.serve_forever(), InvalidStateError);
  CHECK(server.is_serving());
  end(server);
}

TEST_CASE_METHOD(NetTest, "a factory that throws or gives nothing costs that connection alone, and is reported") {
  int calls = 0;
  auto good = std::make_shared<Recorder>();
  auto serving = loop().create_server(
      [&]() -> std::shared_ptr<Recorder> {
        if (++calls == 1) throw std::runtime_error("no protocol today");
        if (calls == 2) return nullptr;
        return good;
      },
      "127.0.0.1", 0);
  Server server = loop().run_until_complete(serving);
  Peer first = Peer::connect(server.port());
  until([&] { return first.is_over(); });
  CHECK(take_reports().size() == 1);
  Peer second = Peer::connect(server.port());
  until([&] { return second.is_over(); });
  CHECK(take_reports().size() == 1);
  Peer third = Peer::connect(server.port());
  until([&] { return good->trace == Trace{"made"}; });
  good->transport->abort();
  server.close();
  settle();
}

TEST_CASE_METHOD(NetTest,
                 "a factory that closes its own server gets the connection that it was called for, and no other") {
  auto protocol = std::make_shared<Recorder>();
  std::unique_ptr<Server> server;
  int calls = 0;
  auto serving = loop().create_server([&] { return ++calls, server->close(), protocol; }, "127.0.0.1", 0);
  server = std::make_unique<Server>(loop().run_until_complete(serving));
  Peer first = Peer::connect(server->port());
  Peer second = Peer::connect(server->port());
  until([&] { return protocol->trace == Trace{"made"}; });
  settle();
  CHECK(calls == 1);
  CHECK(second.is_over());
  protocol->transport->abort();
  settle();
}

TEST_CASE_METHOD(Serving, "a burst of more connections than the backlog is accepted whole, while other callbacks run",
                 "[undisturbed]") {
  Server server = serve("127.0.0.1", {.backlog = 8});
  std::vector<Peer> peers;
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    if (protocols.size() < 100) loop().call_soon(tick);
  };
  loop().call_soon(tick);
  until([&] {
    if (peers.size() < 100 && peers.size() < protocols.size() + 8) peers.push_back(Peer::connect(server.port()));
    return protocols.size() == 100;
  });
  CHECK(ticks > 5);
  peers.clear();
  settle();
  end(server);
}

TEST_CASE_METHOD(Serving, "in a burst of connections those that are there already are heard before it is over",
                 "[undisturbed]") {
  Server server = serve("127.0.0.1", {.backlog = 400});
  Peer first = Peer::connect(server.port());
  wait_for(1);
  std::vector<Peer> burst;
  for (int i = 0; i < 300; ++i) burst.push_back(Peer::connect(server.port()));
  std::size_t count_when_heard = 0;
  protocols.front()->on_data = [&](std::string_view) { count_when_heard = protocols.size(); };
  std::function<void()> speak_up = [&] {
    if (protocols.size() == 1) return static_cast<void>(loop().call_soon(speak_up));
    first.send("x");
  };
  speak_up();
  until([&] { return count_when_heard > 0 && protocols.size() == 301; });
  CHECK(count_when_heard < 301);
  burst.clear();
  settle();
  end(server);
}

TEST_CASE_METHOD(Serving, "each connection has its options, which cost a call only where it does not inherit them") {
  const bool is_inherited = GENERATE(true, false);
  CAPTURE(is_inherited);
  static int set_count;
  set_count = 0;
  Server server = serve("127.0.0.1", {.keep_alive = true});
  PatchedSystem patched;
  sys.setsockopt = [](int fd, int level, int option, const void* value, socklen_t size) {
    return ++set_count, ::setsockopt(fd, level, option, value, size);
  };
  if (!is_inherited) sys.getsockopt = [](int, int, int, void*, socklen_t*) { return errno = ENOPROTOOPT, -1; };
  std::vector<Peer> peers;
  for (std::size_t count : {1, 2, 3}) {
    peers.push_back(Peer::connect(server.port()));
    wait_for(count);
    const int socket = *protocols.back()->transport->get_extra_info<int>("socket");
    for (const auto& [level, option] :
         {std::pair<int, int>(IPPROTO_TCP, TCP_NODELAY), std::pair<int, int>(SOL_SOCKET, SO_KEEPALIVE)}) {
      int value = 0;
      socklen_t size = sizeof value;
      CHECK(::getsockopt(socket, level, option, &value, &size) == 0);
      CHECK(value != 0);
    }
  }
#ifdef __linux__
  CHECK(set_count == (is_inherited ? 0 : 6));
#endif
  end(server);
}

TEST_CASE_METHOD(Serving, "a backlog of 0 accepts one after another, and an idle server does not spin",
                 "[undisturbed]") {
  Server server = serve("127.0.0.1", {.backlog = 0});
  for (std::size_t count : {1, 2, 3}) {
    Peer peer = Peer::connect(server.port());
    wait_for(count);
  }
  settle();
  int turns = 0;
  bool is_over = false;
  run([&] {
    auto watch = create_task([&] {
      while (!is_over) ++turns, sleep(0s);
    });
    let_others_run(5);
    is_over = true;
    await(watch);
  });
  PatchedSystem patched;
  static int waits;
  waits = 0;
  sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
    return ++waits, ::accept4(fd, address, size, flags);
  };
  settle();
  CHECK(waits == 0);
  end(server);
}

// Where a server listens.

TEST_CASE_METHOD(Serving, "a server listens on each of its hosts, once, and on one port") {
  auto serving =
      loop().create_server([] { return std::make_shared<Recorder>(); }, {"127.0.0.2", "127.0.0.1", "127.0.0.2"}, 0);
  Server server = loop().run_until_complete(serving);
  REQUIRE(server.addresses().size() == 2);
  CHECK(server.addresses()[0].host() == "127.0.0.2");
  CHECK(server.addresses()[1].host() == "127.0.0.1");
  CHECK(server.addresses()[1].port() == server.port());
  CHECK(server.sockets().size() == 2);
  server.close();
  const std::vector<std::string> hosts = {"127.0.0.1"};
  Server other = loop().run_until_complete(loop().create_server([] { return std::make_shared<Recorder>(); }, hosts, 0));
  CHECK(other.addresses().size() == 1);
  other.close();
  CHECK_THROWS_AS(loop().create_server([] { return std::make_shared<Recorder>(); }, std::vector<std::string>{}, 0),
                  std::invalid_argument);
}

namespace {

/// bind() for which the port of every second address of a server is taken, so many times.
class TakenPorts {
 public:
  explicit TakenPorts(int times) {
    left = times;
    binds = 0;
    sys.bind = [](int fd, const sockaddr* address, socklen_t size) {
      if (++binds % 2 == 0 && left-- > 0) return errno = EADDRINUSE, -1;
      return ::bind(fd, address, size);
    };
  }
  static inline int left, binds;

 private:
  PatchedSystem patched_;
};

}  // namespace

TEST_CASE_METHOD(Serving,
                 "if the port that was chosen for 0 is taken for one of the hosts, another one is chosen for all") {
  const TakenPorts taken(3);
  const std::size_t before = open_fd_count();
  auto serving = loop().create_server([] { return std::make_shared<Recorder>(); }, {"127.0.0.1", "127.0.0.2"}, 0);
  Server server = loop().run_until_complete(serving);
  CHECK(taken.binds == 8);
  CHECK(server.addresses().size() == 2);
  CHECK(open_fd_count() == before + 2);
  server.close();
}

TEST_CASE_METHOD(Serving, "a port that is always taken for one of the hosts is an error in the end") {
  const TakenPorts taken(1000);
  const std::size_t before = open_fd_count();
  auto serving = loop().create_server([] { return std::make_shared<Recorder>(); }, {"127.0.0.1", "127.0.0.2"}, 0);
  CHECK_THROWS_AS(loop().run_until_complete(serving), OsError);
  CHECK(errno_of(serving.exception()) == EADDRINUSE);
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(Serving, "a named port that is taken is not exchanged for another one") {
  const TakenPorts taken(1);
  const ClosedPort port;
  PatchedSystem patched;
  auto serving =
      loop().create_server([] { return std::make_shared<Recorder>(); }, {"127.0.0.2", "127.0.0.3"}, port.port());
  CHECK_THROWS_AS(loop().run_until_complete(serving), OsError);
  CHECK(taken.binds == 2);
}

TEST_CASE_METHOD(Serving, "an option that the system does not have is an OsError that names it") {
  PatchedSystem patched;
  sys.setsockopt = [](int fd, int level, int option, const void* value, socklen_t size) {
    return option == SO_REUSEPORT ? (errno = ENOPROTOOPT, -1) : ::setsockopt(fd, level, option, value, size);
  };
  const std::size_t before = open_fd_count();
  CHECK(message_of([&] { serve("127.0.0.1", {.reuse_port = true}); }) ==
        "SO_REUSEPORT on 127.0.0.1:0: Protocol not available");
  CHECK(open_fd_count() == before);
}

TEST_CASE_METHOD(Serving, "the options of connections hold for those that are accepted") {
  Server server = serve("127.0.0.1", {.nodelay = false, .keep_alive = true});
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  const int socket = *protocols[0]->transport->get_extra_info<int>("socket");
  int no_delay = -1, keep_alive = -1;
  socklen_t size = sizeof no_delay;
  ::getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
  ::getsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &keep_alive, &size);
  CHECK(no_delay == 0);
  CHECK(keep_alive == 1);
  end(server);
}

TEST_CASE_METHOD(Serving, "the sockets of a server can be looked at until it is closed") {
  Server server = serve();
  REQUIRE(server.sockets().size() == 1);
  int is_listening = 0;
  socklen_t size = sizeof is_listening;
  CHECK(::getsockopt(server.sockets()[0], SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0);
  CHECK(is_listening == 1);
  server.close();
  CHECK(server.sockets().empty());
}

TEST_CASE_METHOD(Serving, "with start_serving off the port is taken, but nobody gets through before start_serving()") {
  Server server = serve("127.0.0.1", {.start_serving = false});
  CHECK_FALSE(server.is_serving());
  CHECK(server.port() != 0);
  run([&] { CHECK_THROWS_AS(open_connection("127.0.0.1", server.port()), ConnectionRefusedError); });
  server.start_serving();
  server.start_serving();
  CHECK(server.is_serving());
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  end(server);
  CHECK_THROWS_AS(server.start_serving(), InvalidStateError);
}

TEST_CASE_METHOD(Serving, "serve_forever begins to serve") {
  Server server = serve("127.0.0.1", {.start_serving = false});
  auto serving = create_task([&] { server.serve_forever(); });
  settle();
  Peer peer = Peer::connect(server.port());
  wait_for(1);
  end(server);
  CHECK(serving.done());
}

TEST_CASE_METHOD(Serving, "start_serving that fails says why, and a server that never served is closed as any other") {
  Server server = serve("127.0.0.1", {.start_serving = false});
  {
    PatchedSystem patched;
    sys.listen = [](int, int) { return errno = EADDRINUSE, -1; };
    CHECK_THROWS_AS(server.start_serving(), OsError);
    CHECK_FALSE(server.is_serving());
  }
  auto waiting = create_task([&] { server.wait_closed(); });
  settle();
  server.close();
  loop().run_until_complete(Future<>(waiting));
}

TEST_CASE_METHOD(NetTest, "an address of any family is where a server listens, and what a client connects to") {
  const Folder folder;
  const auto greet = [](StreamReader, StreamWriter writer) { writer.write("hello\n"); };
  run([&] {
    for (const Address& address :
         {*Address::parse("127.0.0.1", 0), *Address::parse("::1", 0), Address::unix_path(folder / "socket")}) {
      INFO(address);
      Server server = start_server(greet, address);
      auto [reader, writer] = open_connection(server.addresses().at(0));
      CHECK(reader.readline() == "hello\n");
      writer.close();
      server.close();
      server.wait_closed();
    }
  });
  auto served = std::make_shared<Recorder>(), client = std::make_shared<Recorder>();
  const Address address = *Address::parse("127.0.0.1", 0);
  Server server = loop().run_until_complete(loop().create_server([&] { return served; }, address));
  loop().run_until_complete(loop().create_connection([&] { return client; }, server.addresses().at(0)));
  until([&] { return !served->trace.empty(); });
  client->transport->abort();
  until([&] { return served->is_lost(); });
  server.close();
  settle();
}

TEST_CASE_METHOD(NetTest, "no address, and options that do not fit one, are the caller's errors") {
  const auto factory = [] { return std::make_shared<Recorder>(); };
  const Address here = *Address::parse("127.0.0.1", 0);
  CHECK_THROWS_AS(loop().create_connection(factory, Address()), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_connection(factory, here, {.family = AF_INET6}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_connection(factory, here, {.sock = 0}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, Address()), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, here, {.family = AF_INET6}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, here, {.socks = {0}}), std::invalid_argument);
}

// Sockets that come from elsewhere.

TEST_CASE_METHOD(Serving, "a server takes sockets that are bound already, and those that listen already") {
  const PlainListener listening;
  const int listens = ::dup(listening.fd());
  const int bound = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback_address(0);
  REQUIRE(::bind(bound, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  auto factory = [this] { return protocols.emplace_back(std::make_shared<Recorder>()); };
  Server server = loop().run_until_complete(loop().create_server(factory, {.socks = {listens, bound}}));
  CHECK(server.sockets() == std::vector<int>{listens, bound});
  CHECK(server.port() == listening.port());
  CHECK((::fcntl(bound, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(bound, F_GETFD) & FD_CLOEXEC) != 0);
  Peer first = Peer::connect(listening.port());
  wait_for(1);
  Peer second = Peer::connect(server.addresses()[1].port());
  wait_for(2);
  end(server);
  CHECK(::fcntl(bound, F_GETFD) == -1);  // it was the server's to close
}

TEST_CASE_METHOD(NetTest,
                 "start_server takes a Unix socket that came from elsewhere, whose file it leaves where it is") {
  const Folder folder;
  PlainUnixSocket listening(folder / "socket");
  run([&] {
    Server server = start_server([](StreamReader, StreamWriter writer) { writer.write("hello\n"); },
                                 {.socks = {listening.release()}});
    auto [reader, writer] = open_unix_connection(folder / "socket");
    CHECK(reader.readline() == "hello\n");
    writer.close();
    server.close();
    server.wait_closed();
    CHECK(exists(folder / "socket"));
  });
}

TEST_CASE_METHOD(Serving, "sockets and a host, neither of them, and what is no stream socket are the caller's errors") {
  const PlainListener listening;
  const Peer datagrams(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto factory = [] { return std::make_shared<Recorder>(); };
  CHECK_THROWS_AS(loop().create_server(factory, "localhost", 0, {.socks = {listening.fd()}}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, "", 80, {.socks = {listening.fd()}}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, ServerOptions{}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, {.socks = {listening.fd(), datagrams.fd()}}), std::invalid_argument);
  CHECK_THROWS_AS(loop().create_server(factory, {.socks = {9999}}), std::invalid_argument);
  run([&] {
    const auto handler = [](StreamReader, StreamWriter) {};
    CHECK_THROWS_AS(start_server(handler, ServerOptions{}), std::invalid_argument);
    CHECK_THROWS_AS(start_server(handler, "::1", 0, {.socks = {listening.fd()}}), std::invalid_argument);
  });
  CHECK(::fcntl(listening.fd(), F_GETFD) >= 0);  // it is the caller's still
}

TEST_CASE_METHOD(Serving,
                 "a socket that cannot listen is an OsError, and closed, as it is if the Future is cancelled") {
  const std::size_t before = open_fd_count();
  const auto factory = [] { return std::make_shared<Recorder>(); };
  {
    const PlainListener listener;
    const int connected = Peer::connect(listener.port()).release();
    auto failing = loop().create_server(factory, {.socks = {connected}});
    CHECK_THROWS_AS(loop().run_until_complete(failing), OsError);
  }
  auto cancelled = loop().create_server(factory, {.socks = {::socket(AF_INET, SOCK_STREAM, 0)}});
  cancelled.cancel();
  settle();
  CHECK(cancelled.cancelled());
  CHECK(open_fd_count() == before);
}

// What accept(2) may bring.

TEST_CASE_METHOD(Serving, "accept: what befell one connection does not touch the next") {
  for (const int error : {ECONNABORTED, EPROTO, EPERM, ENETDOWN, EINTR}) {
    INFO(std::strerror(error));
    protocols.clear();
    Server server = serve();
    const FailingAccept failing(error, 3);
    Peer peer = Peer::connect(server.port());
    wait_for(1);
    CHECK(failing.left == 0);
    end(server);
  }
}

TEST_CASE_METHOD(Serving,
                 "accept without descriptors or memory: one report, a pause without work, and then it goes on") {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    INFO(std::strerror(error));
    protocols.clear();
    Server server = serve();
    const FailingAccept failing(error, 1);
    Peer peer = Peer::connect(server.port());
    const auto start = loop().time();
    until([&] { return report_count() > 0; });
    const int calls_at_report = failing.calls;
    int turns = 0;
    if (kind() != LoopKind::foreign) {
      for (; turns < 200; ++turns) run_once();
      CHECK(failing.calls == calls_at_report);  // not asked again at once
      CHECK(protocols.empty());
    }
    if (kind() == LoopKind::foreign || error == EMFILE) {  // a real second, once
      let_pass(1s);
      until([&] { return !protocols.empty(); });
      CHECK(loop().time() - start >= 1s);
      if (!is_disturbed()) CHECK(failing.calls <= calls_at_report + 2);
    }
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.find("127.0.0.1:") != std::string::npos);
    CHECK(errno_of(reports[0].exception) == error);
    end(server);
  }
}

TEST_CASE_METHOD(Serving, "a connection that select cannot hold is reported and dropped, and the next one is served") {
  if (kind() != LoopKind::select) return;
  if (!allow_descriptors(FD_SETSIZE + 100)) {
    WARN("skipped: fewer than " << FD_SETSIZE + 100 << " descriptors may be open here");
    return;
  }
  Server server = serve();
  Peer dropped, served;
  {
    const PatchedSystem patched;
    sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
      const int accepted = ::accept4(fd, address, size, flags);
      if (accepted < 0) return accepted;
      const int high = ::fcntl(accepted, F_DUPFD_CLOEXEC, FD_SETSIZE);
      ::close(accepted);
      return high;
    };
    dropped = Peer::connect(server.port());
    until([&] { return dropped.is_over(); });
  }
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(describe(reports[0].exception) ==
        "select of descriptor 1024 (it holds only those below 1024): Too many open files");
  served = Peer::connect(server.port());
  until([&] { return protocols.size() == 1 && !protocols[0]->trace.empty(); });
  end(server);
}

TEST_CASE_METHOD(Serving, "with every descriptor of the process in use the server waits, and then serves everybody") {
  if (kind() == LoopKind::foreign) return;  // its manual clock would not wait for anybody
  Server server = serve();
  std::vector<Peer> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(Peer::connect(server.port()));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = ::dup(0);  // the lowest number that is free
  ::close(next);
  const rlimit used_up{.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &used_up) == 0);
  until([&] { return report_count() > 0; });
  for (int turns = 0; turns < 100; ++turns) run_once();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  const auto reports = take_reports();
  CHECK(reports.size() == 1);
  CHECK(errno_of(reports.at(0).exception) == EMFILE);
  CHECK(protocols.empty());
  wait_for(20);
  end(server);
}

TEST_CASE_METHOD(Serving, "a storm of errors costs one try a second, and loses no connection") {
  if (kind() != LoopKind::foreign) return;  // there an hour passes in no time
  Server server = serve();
  const FailingAccept failing(ENFILE, 3600);
  std::vector<Peer> peers;
  for (int i = 0; i < 50; ++i) peers.push_back(Peer::connect(server.port()));
  const auto start = loop().time();
  wait_for(50);
  CHECK(loop().time() - start == 3600s);
  CHECK(take_reports().size() == 3600);
  end(server);
}

TEST_CASE_METHOD(Serving, "an exception handler may close the server that has no descriptors") {
  Server server = serve();
  loop().set_exception_handler([&](EventLoop&, const ExceptionContext&) { server.close(); });
  const FailingAccept failing(EMFILE, 1);
  Peer peer = Peer::connect(server.port());
  until([&] { return !server.is_serving(); });
  settle();
  CHECK(failing.calls == 1);
  until([&] { return peer.is_over(); });
}

TEST_CASE_METHOD(Serving, "a server that is closed while accepting pauses does not wake up again") {
  Server server = serve();
  const FailingAccept failing(EMFILE, 1);
  Peer peer = Peer::connect(server.port());
  until([&] { return report_count() > 0; });
  server.close();
  CHECK(take_reports().size() == 1);
  settle();
  until([&] { return peer.is_over(); });  // the kernel has reset what was waiting
}

TEST_CASE_METHOD(Serving, "a spurious report of readiness on the listener is no error") {
  Server server = serve();
  PatchedSystem patched;
  static int blocked;
  blocked = 2;
  sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
    return blocked-- > 0 ? (errno = EAGAIN, -1) : ::accept4(fd, address, size, flags);
  };
  std::vector<Peer> peers;  // on edges each new connection is one more report
  until([&] {
    if (peers.size() < 5 && has_edges(kind())) peers.push_back(Peer::connect(server.port()));
    if (peers.empty()) peers.push_back(Peer::connect(server.port()));
    return protocols.size() == peers.size();
  });
  end(server);
}

TEST_CASE_METHOD(Serving, "a connection whose peer has gone before it was accepted is made, and lost, as any other") {
  Server server = serve();
  { Peer peer = Peer::connect(server.port()); }
  { Peer::connect(server.port()).reset(); }
  until([&] { return !protocols.empty() && protocols[0]->is_lost(); });
  settle();
  for (const auto& protocol : protocols) {
    CHECK(protocol->trace.front() == "made");
    CHECK(protocol->trace.back() == "lost");
  }
  end(server);
}

// start_server.

TEST_CASE_METHOD(NetTest, "start_server calls the handler in a task of its own for each connection") {
  run([&] {
    std::vector<std::string> lines;
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) {
          CHECK(current_task());
          lines.push_back(reader.readline());
          writer.write("got " + lines.back());
        },
        "127.0.0.1", 0);
    auto first = open_connection("127.0.0.1", server.port());
    auto second = open_connection("127.0.0.1", server.port());
    second.writer.write("second\n");
    CHECK(second.reader.readline() == "got second\n");
    first.writer.write("first\n");
    CHECK(first.reader.readline() == "got first\n");
    CHECK(first.reader.read() == "");  // the handler has returned: its writer is dropped and the connection closed
    CHECK(lines == std::vector<std::string>{"second\n", "first\n"});
    first.writer.close();
    second.writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(NetTest, "a handler that throws is reported, and its connection closed; the next is served") {
  run([&] {
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) {
          writer.write("before\n");
          if (reader.readline() == "bad\n") throw std::runtime_error("the handler failed");
          writer.write("fine\n");
        },
        "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    writer.write("bad\n");
    CHECK(reader.read() == "before\n");
    let_others_run(3);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(describe(reports[0].exception) == "the handler failed");
    auto [reader2, writer2] = open_connection("127.0.0.1", server.port());
    writer2.write("good\n");
    CHECK(reader2.read() == "before\nfine\n");
    writer.close();
    writer2.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(NetTest, "wait_closed of a stream server waits for the handlers' connections") {
  run([&] {
    bool has_answered = false;
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) {
          writer.write("hello\n");
          writer.write(reader.readline());
          has_answered = true;
        },
        "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    CHECK(reader.readline() == "hello\n");
    server.close();
    auto client = create_task([&writer = writer] { writer.write("go\n"); });
    server.wait_closed();
    CHECK(has_answered);
    CHECK(reader.readline() == "go\n");
    writer.close();
  });
}

TEST_CASE_METHOD(NetTest,
                 "a stream server that has no memory for a task drops that connection, says so, and serves the next") {
  run([&] {
    int calls = 0;
    Server server = start_server([&](StreamReader, StreamWriter) { ++calls; }, "127.0.0.1", 0);
    std::vector<Task<>> parked;
    Peer first;
    {
      PatchedSystem patched;
      sys.mmap = [](void*, size_t, int, int, int, off_t) { return errno = ENOMEM, MAP_FAILED; };
      try {  // uses up what stacks there are
        for (int i = 0; i < 100'000; ++i) parked.push_back(create_task([] { tulp::sleep(1h); }));
        FAIL("memory for 100000 stacks without mmap()");
      } catch (const OsError& error) {
        CHECK(error.code().value() == ENOMEM);
      }
      first = Peer::connect(server.port());
      while (!first.is_over()) sleep(0s);
    }
    CHECK(calls == 0);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(errno_of(reports[0].exception) == ENOMEM);
    Peer second = Peer::connect(server.port());
    while (!second.is_over()) sleep(0s);
    CHECK(calls == 1);
    for (auto& task : parked) task.cancel();
    server.close();
    server.wait_closed();
  });
  settle();
}
