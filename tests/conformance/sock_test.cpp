// Sockets of the user's own in sequential code: modern row 22.
#include <tulp/fd.hpp>
#include <tulp/sock.hpp>
#include <tulp/stream.hpp>
#include <tulp/wait.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "base/unique_fd.hpp"
#include "support/bad_kernel.hpp"
#include "support/net.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

UniqueFd make_socket(int type, int family = AF_INET) {
  UniqueFd socket(::socket(family, type | SOCK_CLOEXEC, 0));
  REQUIRE(socket);
  return socket;
}

UniqueFd tcp_socket() { return make_socket(SOCK_STREAM | SOCK_NONBLOCK); }

Address address_of_socket(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) == 0);
  return Address(reinterpret_cast<const sockaddr*>(&storage), size);
}

/// A socket for datagrams on a port of the system's choice.
UniqueFd udp_socket(int flags = SOCK_NONBLOCK) {
  UniqueFd socket = make_socket(SOCK_DGRAM | flags);
  const Address any = *Address::parse("127.0.0.1", 0);
  REQUIRE(::bind(socket.get(), any.data(), any.size()) == 0);
  return socket;
}

UniqueFd listening_socket(int flags = SOCK_NONBLOCK) {
  UniqueFd socket = make_socket(SOCK_STREAM | flags);
  const Address any = *Address::parse("127.0.0.1", 0);
  REQUIRE(::bind(socket.get(), any.data(), any.size()) == 0);
  REQUIRE(::listen(socket.get(), 16) == 0);
  return socket;
}

struct HalfPlainPair {
  explicit HalfPlainPair(int type = SOCK_STREAM | SOCK_NONBLOCK) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    ours = UniqueFd(ends[0]);
    theirs = Peer(ends[1]);
  }
  int fd() const { return ours.get(); }
  UniqueFd ours;
  Peer theirs;
};

/// An echo over TCP in these calls alone.
void echo_by_calls_through(std::size_t size) {
  const UniqueFd listening = listening_socket();
  auto serving = create_task([&] {
    const auto [conn, address] = sock_accept(listening.get());
    const UniqueFd owned(conn);
    for (std::string data; !(data = sock_recv(owned.get(), 5000)).empty();) sock_sendall(owned.get(), data);
  });
  const UniqueFd client = tcp_socket();
  sock_connect(client.get(), address_of_socket(listening.get()));
  const std::string sent = pattern(size);
  auto sending = create_task([&] {
    sock_sendall(client.get(), sent);
    ::shutdown(client.get(), SHUT_WR);
  });
  std::string received;
  std::array<char, 10'000> memory;
  while (const std::size_t got = sock_recv_into(client.get(), memory)) received.append(memory.data(), got);
  CHECK(same(received, sent));
  await(sending);
  await(serving);
}

}  // namespace

TEST_CASE_METHOD(NetTest, "an echo server and its client, in sock_ calls alone") {
  run([] { echo_by_calls_through(1'000'000); });
}

// Receiving.

TEST_CASE_METHOD(NetTest, "sock_recv parks until there is something, gives what is there, and nothing at the end") {
  HalfPlainPair pair;
  run([&] {
    auto receiving = create_task([&] { return sock_recv(pair.fd(), 100); });
    let_others_run(3);
    CHECK_FALSE(receiving.done());
    pair.theirs.send("hello");
    CHECK(await(receiving) == "hello");
    CHECK_FALSE(loop().is_watched(pair.fd()));
    pair.theirs.send("world");
    CHECK(sock_recv(pair.fd(), 2) == "wo");
    CHECK(sock_recv(pair.fd(), 1 << 20) == "rld");  // more than anybody has memory for beforehand
    pair.theirs.close();
    CHECK(sock_recv(pair.fd(), 100).empty());
  });
}

TEST_CASE_METHOD(NetTest, "two tasks that are parked in sock_recv on two sockets do not get each other's bytes") {
  HalfPlainPair one, other;
  run([&] {
    auto first = create_task([&] { return sock_recv(one.fd(), 100); });
    auto second = create_task([&] { return sock_recv(other.fd(), 100); });
    let_others_run(2);
    one.theirs.send("one");
    other.theirs.send("other");
    CHECK(await(first) == "one");
    CHECK(await(second) == "other");
  });
}

TEST_CASE_METHOD(NetTest, "sock_recvfrom and sock_recvfrom_into say who sent it, and what did not fit") {
  const UniqueFd ours = udp_socket(), theirs = udp_socket();
  const Address here = address_of_socket(ours.get()), there = address_of_socket(theirs.get());
  run([&] {
    auto receiving = create_task([&] { return sock_recvfrom(ours.get(), 100); });
    let_others_run(2);
    CHECK(sock_sendto(theirs.get(), "hello", here) == 5);
    const auto [data, address] = await(receiving);
    CHECK(data == "hello");
    CHECK(address == there);

    sock_sendto(theirs.get(), "", here);  // an empty datagram is one
    CHECK(sock_recvfrom(ours.get(), 100).data.empty());

    sock_sendto(theirs.get(), "too long", here);
    std::array<char, 3> memory;
    const ReceivedDatagram cut = sock_recvfrom_into(ours.get(), memory);
    CHECK(std::string_view(memory.data(), cut.size) == "too");
    CHECK(cut.is_truncated);
    CHECK(cut.address == there);
    sock_sendto(theirs.get(), "too long", here);
    CHECK(errno_thrown_by([&] { sock_recvfrom(ours.get(), 3); }) == EMSGSIZE);
    sock_sendto(theirs.get(), "too long", here);
    CHECK(sock_recv(ours.get(), 3) == "too");
    sock_sendto(theirs.get(), "fits", here);
    std::array<char, 4> enough;
    CHECK_FALSE(sock_recvfrom_into(ours.get(), enough).is_truncated);
  });
}

TEST_CASE_METHOD(NetTest, "sock_recvfrom on a stream gives bytes and no address") {
  HalfPlainPair pair;
  run([&] {
    pair.theirs.send("hello");
    const auto [data, address] = sock_recvfrom(pair.fd(), 3);
    CHECK(data == "hel");
    CHECK(address.family() != AF_INET);
    CHECK(sock_recvfrom(pair.fd(), 100).data == "lo");
    pair.theirs.close();
    CHECK(sock_recvfrom(pair.fd(), 100).data.empty());
  });
}

TEST_CASE_METHOD(NetTest, "a cancelled sock_recv has received nothing, and the socket is not watched any more") {
  HalfPlainPair pair;
  run([&] {
    auto receiving = create_task([&] { sock_recv(pair.fd(), 100); });
    let_others_run(2);
    receiving.cancel();
    pair.theirs.send("kept");
    CHECK_THROWS_AS(await(receiving), FutureCancelledError);
    CHECK_FALSE(loop().is_watched(pair.fd()));
    CHECK(sock_recv(pair.fd(), 100) == "kept");
  });
}

TEST_CASE_METHOD(NetTest, "a second task that has to wait for what the first one waits for is refused") {
  HalfPlainPair pair;
  run([&] {
    auto receiving = create_task([&] { return sock_recv(pair.fd(), 100); });
    let_others_run(2);
    CHECK_THROWS_AS(sock_recv(pair.fd(), 100), InvalidStateError);
    sock_sendall(pair.fd(), "the other direction");
    CHECK(pair.theirs.collect() == "the other direction");
    pair.theirs.send("x");
    CHECK(await(receiving) == "x");
  });
}

TEST_CASE_METHOD(NetTest, "tulp::close ends a sock_recv and a sock_sendall with ECANCELED") {
  HalfPlainPair pair;
  run([&] {
    auto receiving = create_task([&] { sock_recv(pair.fd(), 100); });
    auto sending = create_task([&] { sock_sendall(pair.fd(), pattern(8 << 20)); });
    let_others_run(2);
    tulp::close(pair.ours.release());
    CHECK(errno_thrown_by([&] { await(receiving); }) == ECANCELED);
    CHECK(errno_thrown_by([&] { await(sending); }) == ECANCELED);
  });
}

// Sending.

TEST_CASE_METHOD(NetTest, "sock_sendall parks until the kernel has taken all of it") {
  HalfPlainPair pair;
  const std::string much = pattern(3'000'000);
  run([&] {
    auto sending = create_task([&] { sock_sendall(pair.fd(), much); });
    let_others_run(3);
    CHECK_FALSE(sending.done());
    while (pair.theirs.collect().size() < much.size()) sleep(0s);
    CHECK(same(pair.theirs.received, much));
    await(sending);
    sock_sendall(pair.fd(), "");
    pair.theirs.close();
    CHECK_THROWS_AS(sock_sendall(pair.fd(), "x"), BrokenPipeError);
  });
}

TEST_CASE_METHOD(NetTest, "a cancelled sock_sendall has sent a part, from the beginning on") {
  HalfPlainPair pair;
  const std::string much = pattern(8'000'000);
  run([&] {
    auto sending = create_task([&] { sock_sendall(pair.fd(), much); });
    let_others_run(2);
    sending.cancel();
    CHECK_THROWS_AS(await(sending), FutureCancelledError);
    CHECK_FALSE(loop().is_watched(pair.fd()));
    pair.theirs.collect();
    CHECK_FALSE(pair.theirs.received.empty());
    CHECK(same(pair.theirs.received, std::string_view(much).substr(0, pair.theirs.received.size())));
  });
}

TEST_CASE_METHOD(NetTest, "sock_sendto waits for room in a Unix receiver's queue, which nobody is told of") {
  const Folder folder;
  const UniqueFd theirs = make_socket(SOCK_DGRAM | SOCK_NONBLOCK, AF_UNIX);
  const Address there = Address::unix_path(folder / "socket");
  REQUIRE(::bind(theirs.get(), there.data(), there.size()) == 0);
  const UniqueFd ours = make_socket(SOCK_DGRAM | SOCK_NONBLOCK, AF_UNIX);
  run([&] {
    int sent_count = 0;
    auto sending = create_task([&] {
      for (; sent_count < 1000; ++sent_count) sock_sendto(ours.get(), "x", there);
    });
    while (sent_count < 5) sleep(0s);
    let_others_run(10);
    CHECK(sent_count < 1000);
    for (int i = 0; i < 1000; ++i) CHECK(sock_recv(theirs.get(), 100) == "x");
    await(sending);
  });
}

TEST_CASE_METHOD(NetTest, "sock_sendto tries again when a device's queue is full") {
  const UniqueFd ours = udp_socket(), theirs = udp_socket();
  run([&] {
    const PatchedSystem patched;
    static int refusals;
    refusals = 3;
    sys.sendto = [](int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size) {
      return refusals-- > 0 ? (errno = ENOBUFS, ssize_t{-1}) : ::sendto(fd, data, size, flags, to, to_size);
    };
    sock_sendto(ours.get(), "hello", address_of_socket(theirs.get()));
    CHECK(refusals == -1);
    CHECK(sock_recv(theirs.get(), 100) == "hello");
  });
}

// Connecting.

TEST_CASE_METHOD(NetTest, "sock_connect says which address refused, or cannot be reached at all") {
  const ClosedPort closed;
  run([&] {
    const UniqueFd socket = tcp_socket();
    const Address there = *Address::parse("127.0.0.1", closed.port());
    CHECK(message_of([&] { sock_connect(socket.get(), there); }) ==
          "connect 127.0.0.1:" + std::to_string(closed.port()) + ": Connection refused");
    const UniqueFd another = tcp_socket();
    CHECK(errno_thrown_by([&] { sock_connect(another.get(), *Address::parse("::1", 80)); }) == EAFNOSUPPORT);
    CHECK_THROWS_AS(sock_connect(another.get(), Address()), std::invalid_argument);
  });
}

TEST_CASE_METHOD(NetTest, "sock_connect takes a name, for a socket of its family") {
  const UniqueFd listening = listening_socket();
  run([&] {
    const UniqueFd socket = tcp_socket();
    sock_connect(socket.get(), "localhost", address_of_socket(listening.get()).port());
    const UniqueFd conn(sock_accept(listening.get()).conn);
    CHECK(conn);
    const UniqueFd another = tcp_socket();
    CHECK_THROWS_AS(sock_connect(another.get(), "no.such.host.invalid", 80), ResolveError);
  });
}

TEST_CASE_METHOD(NetTest, "sock_connect waits where the kernel says EINPROGRESS or is interrupted, whatever wakes it") {
  static int error_number;
  static int false_alarms;
  for (const int error : {EINPROGRESS, EINTR}) {
    const UniqueFd listening = listening_socket();
    error_number = error;
    false_alarms = 2;
    const PatchedSystem patched;
    sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
      CHECK((::connect(fd, address, size) == 0 || errno == EINPROGRESS));
      return errno = error_number, -1;
    };
    sys.getpeername = [](int fd, sockaddr* address, socklen_t* size) {
      return false_alarms-- > 0 ? (errno = ENOTCONN, -1) : ::getpeername(fd, address, size);
    };
    run([&] {
      const UniqueFd socket = tcp_socket();
      sock_connect(socket.get(), address_of_socket(listening.get()));
      CHECK(false_alarms == -1);
      const UniqueFd conn(sock_accept(listening.get()).conn);
      sock_sendall(socket.get(), "hello");
      CHECK(sock_recv(conn.get(), 100) == "hello");
    });
  }
}

TEST_CASE_METHOD(NetTest, "what befell a connection under way is what sock_connect throws") {
  const UniqueFd listening = listening_socket();
  const PatchedSystem patched;
  sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
    ::connect(fd, address, size);
    return errno = EINPROGRESS, -1;
  };
  sys.getpeername = [](int, sockaddr*, socklen_t*) { return errno = ENOTCONN, -1; };
  sys.getsockopt = [](int, int, int, void* value, socklen_t*) {
    const int error = ETIMEDOUT;
    std::memcpy(value, &error, sizeof error);
    return 0;
  };
  run([&] {
    const UniqueFd socket = tcp_socket();
    CHECK(errno_thrown_by([&] { sock_connect(socket.get(), address_of_socket(listening.get())); }) == ETIMEDOUT);
  });
}

TEST_CASE_METHOD(NetTest, "sock_connect waits while a Unix server's queue is full") {
  const Folder folder;
  const UniqueFd listening = make_socket(SOCK_STREAM | SOCK_NONBLOCK, AF_UNIX);
  const Address there = Address::unix_path(folder / "socket");
  REQUIRE(::bind(listening.get(), there.data(), there.size()) == 0);
  REQUIRE(::listen(listening.get(), 0) == 0);
  run([&] {
    const UniqueFd first = make_socket(SOCK_STREAM | SOCK_NONBLOCK, AF_UNIX);
    const UniqueFd second = make_socket(SOCK_STREAM | SOCK_NONBLOCK, AF_UNIX);
    sock_connect(first.get(), there);
    auto connecting = create_task([&] { sock_connect(second.get(), there); });
    let_others_run(5);
    CHECK_FALSE(connecting.done());
    const UniqueFd one(sock_accept(listening.get()).conn);
    await(connecting);
    const UniqueFd other(sock_accept(listening.get()).conn);
    CHECK(other);
  });
}

TEST_CASE_METHOD(NetTest, "a cancelled sock_connect does not watch the socket any more") {
  const UniqueFd listening = listening_socket();
  const PatchedSystem patched;
  sys.connect = [](int, const sockaddr*, socklen_t) { return errno = EINPROGRESS, -1; };
  sys.getpeername = [](int, sockaddr*, socklen_t*) { return errno = ENOTCONN, -1; };
  run([&] {
    const UniqueFd socket = tcp_socket();
    auto connecting = create_task([&] { sock_connect(socket.get(), address_of_socket(listening.get())); });
    let_others_run(2);
    connecting.cancel();
    CHECK_THROWS_AS(await(connecting), FutureCancelledError);
    CHECK_FALSE(loop().is_watched(socket.get()));
  });
}

// Accepting.

TEST_CASE_METHOD(NetTest, "sock_accept gives a socket that is non-blocking and close-on-exec, and says who it is") {
  const UniqueFd listening = listening_socket();
  run([&] {
    auto accepting = create_task([&] { return sock_accept(listening.get()); });
    let_others_run(2);
    CHECK_FALSE(accepting.done());
    const Peer peer = Peer::connect(address_of_socket(listening.get()).port());
    const auto [conn, address] = await(accepting);
    const UniqueFd owned(conn);
    CHECK((::fcntl(conn, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(conn, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(address == address_of_socket(peer.fd()));
  });
}

TEST_CASE_METHOD(NetTest, "sock_accept passes over connections that were broken off, and takes the next one") {
  const UniqueFd listening = listening_socket();
  const Peer peer = Peer::connect(address_of_socket(listening.get()).port());
  static int calls;
  calls = 0;
  const PatchedSystem patched;
  sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
    static constexpr int errors[] = {ECONNABORTED, EINTR, EPROTO, EHOSTUNREACH};
    return calls < 4 ? (errno = errors[calls++], -1) : ::accept4(fd, address, size, flags);
  };
  run([&] {
    const UniqueFd conn(sock_accept(listening.get()).conn);
    CHECK(conn);
    CHECK(calls == 4);
  });
}

TEST_CASE_METHOD(NetTest, "what ails the listening socket or this process is an error of sock_accept") {
  const UniqueFd listening = listening_socket();
  const Peer peer = Peer::connect(address_of_socket(listening.get()).port());
  run([&] {
    {
      const PatchedSystem patched;
      sys.accept4 = [](int, sockaddr*, socklen_t*, int) { return errno = EMFILE, -1; };
      CHECK(errno_thrown_by([&] { sock_accept(listening.get()); }) == EMFILE);
    }
    CHECK(UniqueFd(sock_accept(listening.get()).conn));  // it waits still
    const UniqueFd not_listening = tcp_socket(), no_stream = udp_socket();
    CHECK(errno_thrown_by([&] { sock_accept(not_listening.get()); }) == EINVAL);
    CHECK(errno_thrown_by([&] { sock_accept(no_stream.get()); }) == EOPNOTSUPP);
  });
}

// What is asked too much.

TEST_CASE_METHOD(NetTest, "on a blocking socket receiving and sending park all the same") {
  HalfPlainPair pair(SOCK_STREAM);
  const std::string much = pattern(3'000'000);
  run([&] {
    auto receiving = create_task([&] { return sock_recv(pair.fd(), 100); });
    auto sending = create_task([&] { sock_sendall(pair.fd(), much); });
    let_others_run(2);
    CHECK_FALSE(receiving.done());
    CHECK_FALSE(sending.done());
    pair.theirs.send("x");
    CHECK(await(receiving) == "x");
    while (pair.theirs.collect().size() < much.size()) sleep(0s);
    await(sending);
    const UniqueFd ours = udp_socket(0);
    CHECK_THROWS_AS(with_timeout(1ms, [&] { sock_recvfrom(ours.get(), 100); }), TimeoutError);
  });
}

TEST_CASE_METHOD(NetTest,
                 "sock_connect and sock_accept refuse a blocking socket, with which they would block the loop") {
  const UniqueFd listening = listening_socket(0);
  const UniqueFd socket = make_socket(SOCK_STREAM);
  run([&] {
    CHECK_THROWS_AS(sock_accept(listening.get()), std::invalid_argument);
    CHECK_THROWS_AS(sock_connect(socket.get(), address_of_socket(listening.get())), std::invalid_argument);
  });
}

TEST_CASE_METHOD(NetTest, "outside a task, and on what is no socket, the sock_ functions throw at once") {
  CHECK_THROWS_AS(sock_recv(0, 1), InvalidStateError);
  CHECK_THROWS_AS(sock_sendall(0, ""), InvalidStateError);
  CHECK_THROWS_AS(sock_accept(0), InvalidStateError);
  CHECK_THROWS_AS(sock_connect(0, Address()), InvalidStateError);
  CHECK_THROWS_AS(sock_connect(0, "localhost", 1), InvalidStateError);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reading(ends[0]), writing(ends[1]);
  run([&] {
    CHECK(errno_thrown_by([&] { sock_recv(reading.get(), 1); }) == ENOTSOCK);
    CHECK(errno_thrown_by([&] { sock_sendall(writing.get(), "x"); }) == ENOTSOCK);
    CHECK(errno_thrown_by([] { sock_recv(-1, 1); }) == EBADF);
    CHECK(errno_thrown_by([] { sock_accept(-1); }) == EBADF);
  });
}

TEST_CASE_METHOD(NetTest, "waiting for a transport's socket is refused") {
  run([&] {
    auto s = open_stream();
    CHECK_THROWS_AS(sock_recv(*s.writer.get_extra_info<int>("socket"), 1), InvalidStateError);
    s.writer.close();
  });
}

// A kernel that behaves badly.

TEST_CASE_METHOD(NetTest, "sock_ calls over a kernel that interrupts, hesitates and cuts short lose nothing") {
  const BadKernel bad;
  static int error_number;
  SECTION("it interrupts") { error_number = EINTR; }
  SECTION("it hesitates") { error_number = EAGAIN; }
  SECTION("it cuts short") { error_number = 0; }
  sys.recv = [](int fd, void* into, size_t size, int flags) {
    if (!BadKernel::misbehaves()) return ::recv(fd, into, size, flags);
    return error_number == 0 ? ::recv(fd, into, 7, flags) : (errno = error_number, ssize_t{-1});
  };
  sys.send = [](int fd, const void* data, size_t size, int flags) {
    if (!BadKernel::misbehaves()) return ::send(fd, data, size, flags);
    return error_number == 0 ? ::send(fd, data, std::min<size_t>(size, 7), flags) : (errno = error_number, ssize_t{-1});
  };
  sys.accept4 = [](int fd, sockaddr* address, socklen_t* size, int flags) {
    if (error_number != 0 && BadKernel::misbehaves()) return errno = error_number, -1;
    return ::accept4(fd, address, size, flags);
  };
  run([] { echo_by_calls_through(100'000); });
}
