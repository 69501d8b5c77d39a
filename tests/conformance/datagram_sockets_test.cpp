// Datagrams in fibers: recvfrom and sendto that park.
#include <tulp/datagram_socket.hpp>
#include <tulp/task.hpp>
#include <tulp/wait.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/datagrams.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

DatagramSocket open_at(const std::string& host) { return open_datagram_socket({.local_addr = {host, 0}}); }

std::string name(std::size_t i) { return "datagram " + std::to_string(i); }

/// Sends until the queue of the Unix socket `to` is full; how many went in, and the task that is parked with one more.
std::pair<std::size_t, Task<>> fill(DatagramSocket& socket, const Address& to = {}) {
  for (std::size_t count = 0;; ++count) {
    auto sending = create_task([&socket, to, count] { socket.sendto(name(count), to); });
    sleep(0s);
    if (!sending.done()) return {count, sending};
  }
}

}  // namespace

TEST_CASE_METHOD(DatagramTest, "recvfrom parks until a datagram is there, and says who sent it; sendto answers") {
  const char* host = any_loopback();
  run([&] {
    const DatagramPeer peer(host);
    DatagramSocket socket = open_at(host);
    auto serving = create_task([&] {
      auto [data, address] = socket.recvfrom();
      socket.sendto("you said " + data, address);
      return address;
    });
    let_others_run(5);
    CHECK_FALSE(serving.done());
    peer.send("hello", address_of(socket));
    CHECK(await(serving) == peer.address());
    const auto answer = peer.receive();
    REQUIRE(answer);
    CHECK(answer->data == "you said hello");
    CHECK(answer->address == address_of(socket));
  });
}

TEST_CASE_METHOD(DatagramTest, "datagrams come one by one, in order, whether they were there or are waited for") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    std::array<char, 100> memory;
    for (std::size_t i = 0; i < 40; ++i) peer.send(name(i), address_of(socket));
    peer.send("", address_of(socket));
    for (std::size_t i = 0; i < 40; ++i) {
      if (i % 2 == 0) {
        CHECK(socket.recvfrom().data == name(i));
      } else {
        const auto received = socket.recvfrom_into(memory);
        CHECK(std::string_view(memory.data(), received.size) == name(i));
        CHECK(received.address == peer.address());
        CHECK_FALSE(received.is_truncated);
      }
    }
    CHECK(socket.recvfrom().data.empty());
    auto reading = create_task([&] { return socket.recvfrom().data; });
    sleep(0s);
    peer.send("late", address_of(socket));
    CHECK(await(reading) == "late");
  });
}

TEST_CASE_METHOD(DatagramTest, "recvfrom_into says that a datagram was cut, and the next one is whole") {
  const bool is_first = GENERATE(true, false);  // the second one comes with the first
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    if (!is_first) peer.send("before", address_of(socket));
    peer.send("0123456789", address_of(socket));
    peer.send("whole", address_of(socket));
    if (!is_first) CHECK(socket.recvfrom().data == "before");
    std::array<char, 5> memory;
    const auto cut = socket.recvfrom_into(memory);
    CHECK(cut.is_truncated);
    CHECK(std::string_view(memory.data(), cut.size) == "01234");
    const auto whole = socket.recvfrom_into(memory);
    CHECK_FALSE(whole.is_truncated);
    CHECK(std::string_view(memory.data(), whole.size) == "whole");
    peer.send("x", address_of(socket));
    CHECK(socket.recvfrom_into({}).is_truncated);
  });
}

TEST_CASE_METHOD(DatagramTest, "recvfrom refuses a datagram that is longer than its limit, and says how long it was") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    peer.send("0123456789", address_of(socket));
    peer.send("01234", address_of(socket));
    try {
      socket.recvfrom(5);
      FAIL("nothing was thrown");
    } catch (const OsError& error) {
      CHECK(error.code().value() == EMSGSIZE);
      CHECK(std::string(error.what()).find("recvfrom " + peer.address().to_string() + ": a datagram of 10 bytes") == 0);
    }
    CHECK(socket.recvfrom(5).data == "01234");
  });
}

TEST_CASE_METHOD(DatagramTest, "recvmmsg gives what is there, and waits if that is nothing") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    std::array<std::array<char, 20>, 4> memory;
    std::vector<DatagramBuffer> buffers;
    for (auto& one : memory) buffers.push_back({.memory = one});
    CHECK(socket.recvmmsg({}) == 0);
    auto receiving = create_task([&] { return socket.recvmmsg(buffers); });
    let_others_run(3);
    CHECK_FALSE(receiving.done());
    for (std::size_t i = 0; i < 6; ++i) peer.send(name(i), address_of(socket));
    CHECK(await(receiving) == 4);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(buffers[i].data() == name(i));
      CHECK(buffers[i].received.address == peer.address());
    }
    CHECK(socket.recvfrom().data == name(4));  // and keeps those that come with it
    peer.send(pattern(21), address_of(socket));
    CHECK(socket.recvmmsg(buffers) == 1);
    CHECK(buffers[0].data() == name(5));
    CHECK(socket.recvmmsg(buffers) == 1);
    CHECK(buffers[0].received.is_truncated);
    CHECK(buffers[0].data() == pattern(21).substr(0, 20));
  });
}

TEST_CASE_METHOD(DatagramTest, "sendmmsg sends many at once, each to its address") {
  run([&] {
    const DatagramPeer one, other;
    DatagramSocket socket = open_at("127.0.0.1");
    CHECK(socket.sendmmsg({}) == 0);
    const std::vector<OutgoingDatagram> datagrams{{"a", one.address()}, {"b", other.address()}, {"", one.address()}};
    CHECK(socket.sendmmsg(datagrams) == 3);
    CHECK(one.receive_all() == std::vector<std::string>{"a", ""});
    CHECK(other.receive_all() == std::vector<std::string>{"b"});
    const std::vector<OutgoingDatagram> many(100, {"x", one.address()});
    CHECK(socket.sendmmsg(many) == 64);
    CHECK(one.receive_all().size() == 64);
    const std::vector<OutgoingDatagram> bad{{"a", one.address()}, {"b"}};
    CHECK_THROWS_AS(socket.sendmmsg(bad), std::invalid_argument);
    CHECK(one.receive_all().empty());
  });
}

TEST_CASE_METHOD(DatagramTest,
                 "sendmmsg says how many went before the one that cannot be sent, and throws for that one") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    const std::string too_long(65'508, 'x');
    const std::vector<OutgoingDatagram> datagrams{{"a", peer.address()}, {too_long, peer.address()}};
    CHECK(socket.sendmmsg(datagrams) == 1);
    CHECK_THROWS_AS(socket.sendmmsg(std::span(datagrams).subspan(1)), OsError);
    CHECK(peer.receive_all() == std::vector<std::string>{"a"});
  });
}

TEST_CASE_METHOD(DatagramTest, "a connected socket sends to its peer and nobody else") {
  const char* host = any_loopback();
  run([&] {
    const DatagramPeer peer(host), other(host);
    DatagramSocket socket = open_datagram_socket({.remote_addr = peer.address()});
    socket.sendto("without");
    socket.sendto("with", peer.address());
    CHECK(peer.receive_all() == std::vector<std::string>{"without", "with"});
    CHECK_THROWS_AS(socket.sendto("x", other.address()), std::invalid_argument);
    CHECK_THROWS_AS(open_at(host).sendto("x"), std::invalid_argument);
    other.send("from a stranger", address_of(socket));
    peer.send("from the peer", address_of(socket));
    CHECK(socket.recvfrom().data == "from the peer");
    CHECK(socket.get_extra_info<Address>("peername") == peer.address());
  });
}

TEST_CASE_METHOD(DatagramTest, "a refusal by ICMP is thrown where it is heard, and the socket stays usable") {
  const char* host = any_loopback();
  run([&] {
    auto peer = std::make_unique<DatagramPeer>(host);
    const Address address = peer->address();
    peer.reset();
    DatagramSocket socket = open_datagram_socket({.remote_addr = address});
    auto receiving = create_task([&] { return socket.recvfrom().data; });
    sleep(0s);
    socket.sendto("is anybody there?");
    CHECK_THROWS_AS(await(receiving), ConnectionRefusedError);
    socket.sendto("again");
    CHECK_THROWS_AS(socket.sendto("this is not sent"), ConnectionRefusedError);
    const DatagramPeer late(address);
    socket.sendto("now?");
    CHECK(late.receive_all() == std::vector<std::string>{"now?"});
    late.send("yes", address_of(socket));
    CHECK(socket.recvfrom().data == "yes");
  });
}

TEST_CASE_METHOD(DatagramTest, "a datagram that is too long to be sent is an error of that call") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    try {
      socket.sendto(std::string(65'508, 'x'), peer.address());
      FAIL("nothing was thrown");
    } catch (const OsError& error) {
      CHECK(error.code().value() == EMSGSIZE);
      CHECK(std::string(error.what()).find("sendto " + peer.address().to_string() + ": ") == 0);
    }
    socket.sendto("short", peer.address());
    CHECK(peer.receive_all() == std::vector<std::string>{"short"});
  });
}

TEST_CASE_METHOD(DatagramTest, "a second task that receives is an error; the first goes on") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    auto first = create_task([&] { return socket.recvfrom().data; });
    sleep(0s);
    std::array<char, 8> memory;
    CHECK_THROWS_AS(socket.recvfrom(), InvalidStateError);
    CHECK_THROWS_AS(socket.recvfrom_into(memory), InvalidStateError);
    socket.sendto("meanwhile", peer.address());
    peer.send("x", address_of(socket));
    CHECK(await(first) == "x");
  });
}

TEST_CASE_METHOD(DatagramTest, "outside a fiber whatever may park is an error") {
  std::optional<DatagramSocket> socket;
  run([&] { socket.emplace(open_at("127.0.0.1")); });
  const Address address = address_of(*socket);
  CHECK_THROWS_AS(socket->recvfrom(), InvalidStateError);
  CHECK_THROWS_AS(socket->sendto("x", address), InvalidStateError);
  CHECK_THROWS_AS(socket->sendmmsg({}), InvalidStateError);
  CHECK_THROWS_AS(open_at("127.0.0.1"), InvalidStateError);
  CHECK_FALSE(socket->is_closing());
}

TEST_CASE_METHOD(DatagramTest, "a cancelled recvfrom has lost nothing") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    auto receiving = create_task([&] { return socket.recvfrom().data; });
    sleep(0s);
    receiving.cancel();
    CHECK_THROWS_AS(await(receiving), FutureCancelledError);
    peer.send("x", address_of(socket));
    CHECK(socket.recvfrom().data == "x");
  });
}

TEST_CASE_METHOD(DatagramTest, "receivers that are cancelled while datagrams trickle in lose none and repeat none") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    std::vector<std::string> sent, received;
    auto receive = [&] { received.push_back(socket.recvfrom().data); };
    for (int i = 0; i < 500; ++i) {
      auto receiving = create_task(receive);
      let_others_run(i % 3);
      sent.push_back(std::to_string(i));
      peer.send(sent.back(), address_of(socket));
      let_others_run(i % 5);
      receiving.cancel();
      while (!receiving.done()) sleep(0s);
      while (i % 100 == 99 && received.size() < sent.size()) receive();  // before the kernel has no room for them
    }
    CHECK(received == sent);
  });
}

TEST_CASE_METHOD(DatagramTest,
                 "a receiver that is cancelled when it lets others run leaves the socket to the next one") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    for (std::size_t i = 0; i < 100; ++i) peer.send(name(i), address_of(socket));
    std::size_t count = 0;
    auto receiving = create_task([&] {
      for (;; ++count) {
        const std::string data = socket.recvfrom().data;
        CHECK(data == name(count));
      }
    });
    sleep(0s);
    REQUIRE(count == 64);  // it has run without a park, and waits for its next turn
    receiving.cancel();
    CHECK_THROWS_AS(await(receiving), FutureCancelledError);
    for (; count < 100; ++count) CHECK(socket.recvfrom().data == name(count));
  });
}

TEST_CASE_METHOD(DatagramTest,
                 "a read timeout throws TimeoutError; with_timeout does too; a datagram in time is returned") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    socket.set_read_timeout(20ms);
    CHECK_THROWS_AS(socket.recvfrom(), TimeoutError);
    peer.send("x", address_of(socket));
    CHECK(socket.recvfrom().data == "x");
    socket.set_read_timeout(Duration::max());
    CHECK_THROWS_AS(with_timeout(20ms, [&] { return socket.recvfrom(); }), TimeoutError);
    peer.send("y", address_of(socket));
    CHECK(socket.recvfrom().data == "y");
  });
}

TEST_CASE("datagrams that prove to be broken when they are fetched do not prolong a read timeout") {
  DatagramTest test(LoopKind::foreign);
  test.run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    socket.set_read_timeout(10s);
    const PatchedSystem patched;
    sys.recvmsg = [](int fd, msghdr* message, int flags) {
      return ::recvmsg(fd, message, flags) < 0 ? -1 : (errno = EAGAIN, ssize_t{-1});
    };
    sys.recvmmsg = [](int fd, mmsghdr* messages, unsigned count, int flags, timespec* limit) {
      return ::recvmmsg(fd, messages, count, flags, limit) < 0 ? -1 : (errno = EAGAIN, -1);
    };
    auto dripping = create_task([&] {
      for (;;) {
        peer.send("x", address_of(socket));
        let_others_run(3);
        sleep(3s);
      }
    });
    const TimePoint begin = test.loop().time();
    CHECK_THROWS_AS(socket.recvfrom(), TimeoutError);
    CHECK(test.loop().time() - begin == 10s);
    dripping.cancel();
  });
}

TEST_CASE_METHOD(DatagramTest, "close() wakes who is parked with ECANCELED, and so does every call after it") {
  run([&] {
    const DatagramPeer peer(unused_unix_address());
    DatagramSocket socket = open_datagram_socket({.remote_addr = peer.address()});
    auto receiving = create_task([&] { return socket.recvfrom().data; });
    auto sending = fill(socket).second;
    auto behind_it = create_task([&] { socket.sendto("waits for its turn"); });
    sleep(0s);
    socket.close();
    socket.close();
    CHECK(socket.is_closing());
    auto is_cancelled = [](auto call) {
      try {
        call();
      } catch (const OsError& error) {
        return error.code().value() == ECANCELED;
      }
      return false;
    };
    CHECK(is_cancelled([&] { await(receiving); }));
    CHECK(is_cancelled([&] { await(sending); }));
    CHECK(is_cancelled([&] { await(behind_it); }));
    CHECK(is_cancelled([&] { socket.recvfrom(); }));
    CHECK(is_cancelled([&] { socket.sendto("x"); }));
    CHECK(is_cancelled([&] { socket.join_group({"239.1.2.3"}); }));
    CHECK_FALSE(socket.get_extra_info<int>("socket"));
    CHECK(socket.get_extra_info<Address>("peername") == peer.address());
  });
}

TEST_CASE_METHOD(DatagramTest, "datagrams that came together with others are gone with close()") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_at("127.0.0.1");
    for (int i = 0; i < 3; ++i) peer.send("x", address_of(socket));
    socket.recvfrom();
    socket.close();
    CHECK_THROWS_AS(socket.recvfrom(), OsError);
  });
}

TEST_CASE_METHOD(DatagramTest, "sendto parks while its peer takes no more, and tasks that send keep their order") {
  const bool is_connected = GENERATE(true, false);
  run([&] {
    const DatagramPeer peer(unused_unix_address());
    const Address to = is_connected ? Address() : peer.address();
    DatagramSocket socket = is_connected ? open_datagram_socket({.remote_addr = peer.address()})
                                         : open_datagram_socket({.family = AF_UNIX});
    auto [filled, first] = fill(socket, to);
    std::vector<Task<>> tasks{first};
    std::vector<std::string> expected;
    for (std::size_t i = 0; i <= filled; ++i) expected.push_back(name(i));
    for (std::size_t i = filled + 1; i < filled + 50; ++i) {
      expected.push_back(name(i));
      tasks.push_back(create_task([&socket, to, i] { socket.sendto(name(i), to); }));
    }
    let_others_run(5);
    CHECK_FALSE(first.done());
    std::vector<std::string> received;
    while (received.size() < expected.size()) {
      for (auto& data : peer.receive_all()) received.push_back(std::move(data));
      sleep(1ms);
    }
    CHECK(received == expected);
    for (auto& task : tasks) await(task);
  });
}

TEST_CASE_METHOD(DatagramTest, "a cancelled sendto has not been sent, and the next one in the queue is") {
  const bool is_connected = GENERATE(true, false);
  run([&] {
    const DatagramPeer peer(unused_unix_address());
    const Address to = is_connected ? Address() : peer.address();
    DatagramSocket socket = is_connected ? open_datagram_socket({.remote_addr = peer.address()})
                                         : open_datagram_socket({.family = AF_UNIX});
    auto [filled, first] = fill(socket, to);
    auto second = create_task([&] { socket.sendto("second", to); });
    auto third = create_task([&] { socket.sendto("third", to); });
    sleep(0s);
    second.cancel();
    first.cancel();
    CHECK_THROWS_AS(await(first), FutureCancelledError);
    CHECK_THROWS_AS(await(second), FutureCancelledError);
    CHECK(peer.receive_all().size() == filled);
    await(third);
    CHECK(peer.receive_all() == std::vector<std::string>{"third"});
  });
}

TEST_CASE_METHOD(DatagramTest, "a fiber under a flood lets others run") {
  run([&] {
    const DatagramPeer flood;
    DatagramSocket socket = open_at("127.0.0.1");
    std::size_t count = 0;
    auto receiving = create_task([&] {
      std::array<char, 16> memory;
      for (;; ++count) {
        socket.recvfrom_into(memory);
        flood.send("more", address_of(socket));
      }
    });
    for (int i = 0; i < 100; ++i) flood.send("more", address_of(socket));
    let_others_run(3);
    const std::size_t before = count;
    sleep(0s);
    CHECK(count - before <= 100);
    receiving.cancel();
    CHECK_THROWS_AS(await(receiving), FutureCancelledError);
  });
}

TEST_CASE_METHOD(DatagramTest, "a socket can be moved, and closes when it is dropped or assigned to") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket first = open_at("127.0.0.1");
    const Address address = address_of(first);
    DatagramSocket second = std::move(first);
    peer.send("x", address);
    CHECK(second.recvfrom().data == "x");
    const int fd = second.get_extra_info<int>("socket").value();
    second = open_at("127.0.0.1");
    CHECK(detail::local_address(fd) != address);
  });
}

TEST_CASE_METHOD(DatagramTest, "a socket that outlives its loop is closed by it") {
  std::optional<DatagramSocket> socket;
  run([&] { socket.emplace(open_at("127.0.0.1")); });
  loop().close();
  CHECK(socket->is_closing());
  socket.reset();
}

TEST_CASE_METHOD(DatagramTest, "get_extra_info is as that of a transport") {
  run([&] {
    DatagramSocket socket = open_at("127.0.0.1");
    CHECK(address_of(socket).host() == "127.0.0.1");
    CHECK(socket.get_extra_info<std::uint32_t>("dropped_count") == 0U);
    CHECK_FALSE(socket.get_extra_info<Address>("peername"));
  });
}

TEST_CASE_METHOD(DatagramTest, "Unix datagrams are whole whatever their length, and a nameless sender has no address") {
  run([&] {
    const Address here = unused_unix_address();
    DatagramSocket socket = open_datagram_socket({.local_addr = here});
    DatagramSocket nameless = open_datagram_socket({.remote_addr = here});
    const int room = 1'000'000;
    ::setsockopt(nameless.get_extra_info<int>("socket").value(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    const std::string data = pattern(200'000);
    nameless.sendto(data);
    const Datagram received = socket.recvfrom(1'000'000);
    CHECK(same(received.data, data));
    CHECK(received.address.family() == AF_UNSPEC);
    nameless.sendto(data);
    CHECK_THROWS_AS(socket.recvfrom(), OsError);  // 64 KiB unless more is allowed
    nameless.sendto("one");
    nameless.sendto("two");
    std::array<char, 10> memory;
    CHECK(socket.recvfrom_into(memory).size == 3);
    CHECK(socket.recvfrom().data == "two");
  });
}
