// What datagrams cost: system calls and allocations, counted.
#include <tulp/datagram_socket.hpp>
#include <tulp/datagram_transport.hpp>
#include <tulp/task.hpp>

#include <sys/socket.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "support/allocations.hpp"
#include "support/datagrams.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Counts the calls that move datagrams.
class CountedDatagramCalls {
 public:
  CountedDatagramCalls() {
    reset();
    sys.recvmsg = [](int fd, msghdr* message, int flags) { return ++receives, counted(::recvmsg(fd, message, flags)); };
    sys.recvmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
      return ++receives, counted(::recvmmsg(fd, messages, count, flags, timeout));
    };
    sys.sendto = [](int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
      return ++sends, counted(::sendto(fd, data, size, flags, to, length));
    };
    sys.sendmsg = [](int fd, const msghdr* message, int flags) {
      return ++sends, counted(::sendmsg(fd, message, flags));
    };
    sys.sendmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags) {
      return ++sends, counted(::sendmmsg(fd, messages, count, flags));
    };
    sys.epoll_ctl = [](int epoll, int operation, int fd, epoll_event* event) {
      return ++registrations, original.epoll_ctl(epoll, operation, fd, event);
    };
  }
  void reset() { receives = sends = blocked = registrations = 0; }

  static inline int receives, sends, blocked, registrations;

 private:
  template <class Result>
  static Result counted(Result result) {
    if (result < 0 && errno == EAGAIN) ++blocked;
    return result;
  }
  static inline const SystemCalls original = sys;
  PatchedSystem patched_;
};

/// Sends `count` datagrams at once and lets others run until as many have come back; allocates nothing.
void exchange_with(const DatagramPeer& peer, const Address& server, int count = 1, std::size_t size = 200) {
  std::array<char, 8000> memory{};
  for (int i = 0; i < count; ++i) peer.send({memory.data(), size}, server);
  while (count > 0) {
    if (::recv(peer.fd(), memory.data(), memory.size(), 0) > 0)
      --count;
    else
      sleep(0s);
  }
}

struct DatagramEcho : DatagramProtocol {
  void connection_made(std::shared_ptr<DatagramTransport> made) override { transport = made.get(); }
  void datagram_received(std::string_view data, const Address& from) override { transport->sendto(data, from); }
  DatagramTransport* transport = nullptr;
};

enum class ServerKind { protocol, fiber };

class Costs : public DatagramTest {
 public:
  /// Calls `body` with the address of an echo server of either kind, in a fiber.
  template <class Body>
  void with_server(ServerKind server, Body body) {
    if (server == ServerKind::protocol) {
      auto transport = open(std::make_shared<DatagramEcho>(), {.local_addr = {"127.0.0.1", 0}});
      run([&] { body(address_of(*transport)); });
      return end(transport);
    }
    run([&] {
      DatagramSocket socket = open_datagram_socket({.local_addr = {"127.0.0.1", 0}});
      auto serving = create_task([&] {
        std::array<char, 8000> memory;
        for (;;) {
          const auto received = socket.recvfrom_into(memory);
          socket.sendto({memory.data(), received.size}, received.address);
        }
      });
      body(address_of(socket));
      serving.cancel();
      CHECK_THROWS_AS(await(serving), FutureCancelledError);
    });
  }
};

}  // namespace

TEST_CASE_METHOD(Costs, "an echo costs one call to receive and one to send for each datagram, and no look in vain") {
  const ServerKind server = GENERATE(ServerKind::protocol, ServerKind::fiber);
  const DatagramPeer peer;
  with_server(server, [&](const Address& address) {
    exchange_with(peer, address);
    const CountedDatagramCalls calls;
    for (int i = 0; i < 100; ++i) exchange_with(peer, address);
    CHECK(calls.receives == 100);
    CHECK(calls.sends == 100);
    CHECK(calls.blocked == 0);
    CHECK(calls.registrations == 0);
  });
}

TEST_CASE_METHOD(Costs, "datagrams that come together are received together") {
  const ServerKind server = GENERATE(ServerKind::protocol, ServerKind::fiber);
  const DatagramPeer peer;
  with_server(server, [&](const Address& address) {
    exchange_with(peer, address);
    const CountedDatagramCalls calls;
    for (int i = 0; i < 20; ++i) exchange_with(peer, address, 15);
    CHECK(calls.receives == 20);
    CHECK(calls.sends == 300);
    CHECK(calls.blocked == 0);
  });
}

TEST_CASE_METHOD(Costs, "long datagrams are received one by one, with one look in vain at the end") {
  const ServerKind server = GENERATE(ServerKind::protocol, ServerKind::fiber);
  const DatagramPeer peer;
  with_server(server, [&](const Address& address) {
    exchange_with(peer, address, 1, 8000);
    const CountedDatagramCalls calls;
    for (int i = 0; i < 20; ++i) exchange_with(peer, address, 5, 8000);
    CHECK(calls.receives - calls.blocked == 100);
    CHECK(calls.blocked <= 20);
  });
}

TEST_CASE_METHOD(Costs, "batches of a fiber's own cost one call each way") {
  const DatagramPeer peer;
  run([&] {
    DatagramSocket socket = open_datagram_socket({.local_addr = {"127.0.0.1", 0}});
    auto serving = create_task([&] {
      std::array<std::array<char, 2048>, 64> memory;
      std::vector<DatagramBuffer> buffers;
      for (auto& one : memory) buffers.push_back({.memory = one});
      std::vector<OutgoingDatagram> answers(64);
      for (;;) {
        const std::size_t count = socket.recvmmsg(buffers);
        for (std::size_t i = 0; i < count; ++i) answers[i] = {buffers[i].data(), buffers[i].received.address};
        CHECK(socket.sendmmsg(std::span(answers).first(count)) == count);
      }
    });
    const CountedDatagramCalls calls;
    for (int i = 0; i < 20; ++i) exchange_with(peer, address_of(socket), 50);
    CHECK(calls.receives <= 21);  // the first one is tried before anything is there
    CHECK(calls.sends == 20);
    serving.cancel();
    CHECK_THROWS_AS(await(serving), FutureCancelledError);
  });
}

TEST_CASE_METHOD(Costs, "a steady exchange allocates nothing, in ones or in bursts") {
  if (!AllocationCount::is_counting() || kind() == LoopKind::foreign) return;  // that loop allocates in each wait
  const ServerKind server = GENERATE(ServerKind::protocol, ServerKind::fiber);
  const DatagramPeer peer;
  with_server(server, [&](const Address& address) {
    auto round = [&] {
      exchange_with(peer, address);
      exchange_with(peer, address, 40);
    };
    for (int i = 0; i < 5; ++i) round();
    const AllocationCount allocations;
    for (int i = 0; i < 50; ++i) round();
    CHECK(allocations.count() == 0);
  });
}
