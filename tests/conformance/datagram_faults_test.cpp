// Datagrams over a kernel that interrupts, hesitates, has no room, lacks calls and fails.
#include <tulp/datagram_socket.hpp>
#include <tulp/datagram_transport.hpp>
#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "support/bad_kernel.hpp"
#include "support/datagrams.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Each call fails with `error` when BadKernel misbehaves, which happens to two of three.
struct FailingCalls {
  explicit FailingCalls(int number) {
    error = number;
    sys.sendto = [](int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
      return fails(fd) ? ssize_t{-1} : ::sendto(fd, data, size, flags, to, length);
    };
    sys.sendmsg = [](int fd, const msghdr* message, int flags) {
      return fails(fd) ? ssize_t{-1} : ::sendmsg(fd, message, flags);
    };
    sys.sendmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags) {
      return fails(fd) ? -1 : ::sendmmsg(fd, messages, count, flags);
    };
    if (error == ENOBUFS) return;  // which receivers do not hear
    sys.recvmsg = [](int fd, msghdr* message, int flags) {
      return fails(fd) ? ssize_t{-1} : ::recvmsg(fd, message, flags);
    };
    sys.recvmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
      return fails(fd) ? -1 : ::recvmmsg(fd, messages, count, flags, timeout);
    };
  }
  static bool fails(int fd) {
    if (!BadKernel::misbehaves()) return false;
    if (error == EAGAIN) BadKernel::make_edge(fd);
    errno = error;
    return true;
  }
  static inline int error;
};

std::vector<std::string> numbers(std::size_t count) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back(std::to_string(i));
  return all;
}

class DatagramFaults : public DatagramTest {
 public:
  /// Sends datagrams there and back through an endpoint that echoes.
  void echo_through_protocols(const char* host) {
    auto echo = std::make_shared<DatagramRecorder>(), client = std::make_shared<DatagramRecorder>();
    auto server = open(echo, {.local_addr = {host, 0}});
    echo->on_datagram = [&](std::string_view data, const Address& from) { server->sendto(data, from); };
    auto transport = open(client, {.remote_addr = address_of(*server)});
    const auto sent = numbers(200);
    for (const auto& data : sent) transport->sendto(data);
    until([&] { return client->received.size() == sent.size(); });
    CHECK(client->data() == sent);
    CHECK(client->errors.empty());
    CHECK(echo->errors.empty());
    transport->close();
    end(server);
  }
  /// The same through sockets, in each of their calls.
  void echo_through_sockets(const char* host) {
    run([&] {
      DatagramSocket server = open_datagram_socket({.local_addr = {host, 0}});
      DatagramSocket client = open_datagram_socket({.remote_addr = address_of(server)});
      auto serving = create_task([&] {
        std::vector<std::array<char, 16>> memory(8);
        std::vector<DatagramBuffer> buffers;
        for (auto& one : memory) buffers.push_back({.memory = one});
        for (;;) {
          const std::size_t count = server.recvmmsg(buffers);
          std::vector<OutgoingDatagram> answers;
          for (std::size_t i = 0; i < count; ++i) answers.push_back({buffers[i].data(), buffers[i].received.address});
          for (std::span<const OutgoingDatagram> left = answers; !left.empty();)
            left = left.subspan(server.sendmmsg(left));
        }
      });
      const auto sent = numbers(200);
      auto sending = create_task([&] {
        for (const auto& data : sent) client.sendto(data);
      });
      std::array<char, 16> memory;
      for (std::size_t i = 0; i < sent.size(); ++i) {
        if (i % 2 == 0)
          CHECK(client.recvfrom().data == sent[i]);
        else
          CHECK(std::string_view(memory.data(), client.recvfrom_into(memory).size) == sent[i]);
      }
      await(sending);
      serving.cancel();
      CHECK_THROWS_AS(await(serving), FutureCancelledError);
    });
  }
};

}  // namespace

TEST_CASE_METHOD(DatagramFaults,
                 "interruptions, hesitation and a lack of buffers lose no datagram and change no order") {
  const BadKernel bad;
  const int error = GENERATE(EINTR, EAGAIN, ENOBUFS);
  CAPTURE(error);
  const char* host = any_loopback();
  const FailingCalls failing(error);
  echo_through_protocols(host);
  echo_through_sockets(host);
  CHECK(bad.calls() > 10);
}

TEST_CASE_METHOD(DatagramFaults, "a system without recvmmsg and sendmmsg is served one datagram at a time") {
  const PatchedSystem patched;
  sys.recvmmsg = [](int, mmsghdr*, unsigned, int, timespec*) { return errno = ENOSYS, -1; };
  sys.sendmmsg = [](int, mmsghdr*, unsigned, int) { return errno = ENOSYS, -1; };
  echo_through_protocols("127.0.0.1");
  echo_through_sockets("127.0.0.1");
}

TEST_CASE_METHOD(DatagramFaults, "ENOBUFS is waited out, and others run meanwhile") {
  const DatagramPeer peer;
  auto protocol = std::make_shared<DatagramRecorder>();
  auto transport = open(protocol, {.remote_addr = peer.address()});
  static int refusals;
  refusals = 5;
  const PatchedSystem patched;
  sys.sendto = [](int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
    return refusals-- > 0 ? (errno = ENOBUFS, ssize_t{-1}) : ::sendto(fd, data, size, flags, to, length);
  };
  sys.sendmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags) {
    return refusals-- > 0 ? (errno = ENOBUFS, -1) : ::sendmmsg(fd, messages, count, flags);
  };
  transport->sendto("one");
  transport->sendto("two");
  CHECK(transport->get_write_buffer_size() == 6);
  until([&] { return transport->get_write_buffer_size() == 0; });
  CHECK(peer.receive_all() == std::vector<std::string>{"one", "two"});
  CHECK(protocol->errors.empty());
  end(transport);

  run([&] {
    DatagramSocket socket = open_datagram_socket({.remote_addr = peer.address()});
    refusals = 5;
    bool has_run = false;
    auto other = create_task([&] { has_run = true; });
    socket.sendto("three");
    CHECK(has_run);
    CHECK(peer.receive_all() == std::vector<std::string>{"three"});
    refusals = 1'000'000;
    auto sending = create_task([&] { socket.sendto("four"); });
    sleep(1ms);
    sending.cancel();
    CHECK_THROWS_AS(await(sending), FutureCancelledError);
    CHECK(peer.receive_all().empty());
  });
}

TEST_CASE_METHOD(DatagramFaults, "close() while the kernel has no room sends what is kept when it has") {
  const DatagramPeer peer;
  auto protocol = std::make_shared<DatagramRecorder>();
  auto transport = open(protocol, {.remote_addr = peer.address()});
  static int refusals;
  refusals = 3;
  const PatchedSystem patched;
  sys.sendto = [](int, const void*, size_t, int, const sockaddr*, socklen_t) { return errno = ENOBUFS, ssize_t{-1}; };
  sys.sendmsg = [](int fd, const msghdr* message, int flags) {
    return refusals-- > 0 ? (errno = ENOBUFS, ssize_t{-1}) : ::sendmsg(fd, message, flags);
  };
  transport->sendto("the last");
  transport->close();
  until([&] { return protocol->is_lost(); });
  CHECK(peer.receive_all() == std::vector<std::string>{"the last"});
}

TEST_CASE_METHOD(DatagramFaults,
                 "errors that end, one for a datagram and one for an earlier one, are told, and the rest is sent") {
  const DatagramPeer peer;
  auto protocol = std::make_shared<DatagramRecorder>();
  auto transport = open(protocol, {.remote_addr = peer.address()});
  static std::vector<int> errors;
  errors = {EAGAIN, ECONNREFUSED, EPERM, ECONNREFUSED, ECONNREFUSED};
  const BadKernel bad;
  auto next = [](int fd) {
    if (errors.empty()) return false;
    BadKernel::make_edge(fd);
    errno = errors.front();
    errors.erase(errors.begin());
    return true;
  };
  static bool (*fails)(int);
  fails = next;
  sys.sendto = [](int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
    return fails(fd) ? ssize_t{-1} : ::sendto(fd, data, size, flags, to, length);
  };
  sys.sendmsg = [](int fd, const msghdr* message, int flags) {
    return fails(fd) ? ssize_t{-1} : ::sendmsg(fd, message, flags);
  };
  sys.sendmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags) {
    return fails(fd) ? -1 : ::sendmmsg(fd, messages, count, flags);
  };
  for (const char* data : {"not permitted", "refused twice", "sent"}) transport->sendto(data);
  until([&] { return transport->get_write_buffer_size() == 0; });
  settle();
  CHECK(peer.receive_all() == std::vector<std::string>{"sent"});
  std::vector<int> told;
  for (const auto& error : protocol->errors) told.push_back(errno_of(error));
  CHECK(told == std::vector<int>{ECONNREFUSED, EPERM, ECONNREFUSED, ECONNREFUSED});
  end(transport);
}

TEST_CASE_METHOD(DatagramFaults, "an error of receiving is told, and what came after it is received") {
  const DatagramPeer peer;
  auto protocol = std::make_shared<DatagramRecorder>();
  auto transport = open(protocol, {.local_addr = {"127.0.0.1", 0}});
  static int failures;
  failures = 3;
  const PatchedSystem patched;
  sys.recvmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    return failures-- > 0 ? (errno = ENOMEM, -1) : ::recvmmsg(fd, messages, count, flags, timeout);
  };
  peer.send("x", address_of(*transport));
  until([&] { return !protocol->received.empty(); });
  REQUIRE(protocol->errors.size() == 3);
  CHECK(errno_of(protocol->errors[0]) == ENOMEM);
  end(transport);

  run([&] {
    DatagramSocket socket = open_datagram_socket({.local_addr = {"127.0.0.1", 0}});
    failures = 1;
    peer.send("y", address_of(socket));
    CHECK_THROWS_AS(socket.recvfrom(), OsError);
    CHECK(socket.recvfrom().data == "y");
  });
}

TEST_CASE_METHOD(DatagramFaults,
                 "a socket that fails again and again is lost; what is sent then is dropped, and that is said") {
  const DatagramPeer peer;
  auto protocol = std::make_shared<DatagramRecorder>();
  auto transport = open(protocol, {.remote_addr = peer.address()});
  const PatchedSystem patched;
  sys.recvmmsg = [](int, mmsghdr*, unsigned, int, timespec*) { return errno = EBADF, -1; };
  peer.send("x", address_of(*transport));
  until([&] { return protocol->is_lost(); });
  CHECK(errno_of(protocol->lost_with) == EBADF);
  CHECK(protocol->errors.size() == 16);
  for (int i = 0; i < 10; ++i) transport->sendto("nobody sends this");
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find("sendto() keeps being called") == 0);
  CHECK(peer.receive_all().empty());
}

TEST_CASE_METHOD(DatagramFaults,
                 "a datagram longer than all memory for it is an error for a protocol, not half a datagram") {
  auto protocol = std::make_shared<DatagramRecorder>();
  const Address here = unused_unix_address();
  auto transport = open(protocol, {.local_addr = here});
  const DatagramPeer peer(unused_unix_address());
  const PatchedSystem patched;
  sys.recvmsg = [](int fd, msghdr* message, int flags) {
    const ssize_t size = ::recvmsg(fd, message, flags);
    return size > 0 ? size + 1024 * 1024 : size;
  };
  peer.send("x", here);
  until([&] { return !protocol->errors.empty(); });
  CHECK(errno_of(protocol->errors[0]) == EMSGSIZE);
  CHECK(describe(protocol->errors[0]).find("a datagram of 1048577 bytes") != std::string::npos);
  CHECK(protocol->received.empty());
  end(transport);
}

TEST_CASE_METHOD(DatagramFaults,
                 "a socket that cannot be opened or watched is an error, and no descriptor stays open") {
  static int calls;
  for (int failing = 1; failing <= 2; ++failing) {
    const PatchedSystem patched;
    calls = failing;
    sys.socket = [](int family, int type, int protocol) {
      return --calls == 0 ? (errno = EMFILE, -1) : ::socket(family, type, protocol);
    };
    static const auto epoll_ctl_of_system = sys.epoll_ctl;
    static const auto fstat_of_system = sys.fstat;
    sys.epoll_ctl = [](int epoll, int operation, int fd, epoll_event* event) {
      return --calls == 0 ? (errno = ENOSPC, -1) : epoll_ctl_of_system(epoll, operation, fd, event);
    };
    sys.fstat = [](int fd, struct stat* status) {
      return --calls == 0 ? (errno = EMFILE, -1) : fstat_of_system(fd, status);
    };
    if (failing == 2 && kind() == LoopKind::foreign) continue;  // it watches without the table
    run([&] { CHECK_THROWS_AS(open_datagram_socket({.family = AF_INET}), OsError); });
  }
}

TEST_CASE_METHOD(DatagramFaults, "a socket that cannot be set up as the options say is an error") {
  const DatagramPeer peer;
  const PatchedSystem patched;
  sys.setsockopt = [](int, int, int, const void*, socklen_t) { return errno = ENOPROTOOPT, -1; };
  sys.connect = [](int, const sockaddr*, socklen_t) { return errno = ENETUNREACH, -1; };
  run([&] {
    CHECK_THROWS_AS(open_datagram_socket({.family = AF_INET, .reuse_port = true}), OsError);
    CHECK_THROWS_AS(open_datagram_socket({.family = AF_INET, .allow_broadcast = true}), OsError);
    CHECK_THROWS_AS(open_datagram_socket({.family = AF_INET6, .ipv6_only = true}), OsError);
    CHECK_THROWS_AS(open_datagram_socket({.family = AF_INET, .multicast_loop = false}), OsError);
    try {
      open_datagram_socket({.remote_addr = peer.address()});
      FAIL("nothing was thrown");
    } catch (const OsError& error) {
      CHECK(std::string(error.what()).find("connect " + peer.address().to_string() + ": ") == 0);
    }
  });
}

TEST_CASE_METHOD(DatagramFaults, "what the kernel does not tell is not known") {
  run([&] {
    DatagramSocket socket = open_datagram_socket({.family = AF_INET});
    const PatchedSystem patched;
    sys.getsockopt = [](int, int, int, void*, socklen_t*) { return errno = ENOPROTOOPT, -1; };
    CHECK_FALSE(socket.get_extra_info<std::uint32_t>("dropped_count"));
  });
}
