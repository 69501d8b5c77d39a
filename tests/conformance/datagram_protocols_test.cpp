// Datagram endpoints and their protocols: semantics rows 84 to 86.
#include <tulp/datagram_transport.hpp>
#include <tulp/run.hpp>
#include <tulp/task.hpp>

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "support/datagrams.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// An endpoint at a loopback address of either family, and a plain socket for it to talk to.
class Endpoint : public DatagramTest {
 public:
  void open_at(const std::string& host) { transport = open(protocol, {.local_addr = {host, 0}}); }
  void open_connected(const Address& to) { transport = open(protocol, {.remote_addr = to}); }
  Address address() const { return address_of(*transport); }
  void until_datagrams(std::size_t count) {
    until([&] { return protocol->received.size() >= count; });
  }

  std::shared_ptr<DatagramRecorder> protocol = std::make_shared<DatagramRecorder>();
  std::shared_ptr<DatagramTransport> transport;
};

}  // namespace

TEST_CASE_METHOD(Endpoint, "an endpoint tells its protocol of its beginning, of each datagram, and of its end") {
  const char* host = any_loopback();
  const DatagramPeer peer(host);
  open_at(host);
  CHECK(protocol->trace == Trace{"made"});
  CHECK(protocol->transport == transport);
  peer.send("one", address());
  peer.send("two", address());
  until_datagrams(2);
  transport->close();
  CHECK(protocol->trace == Trace{"made", "datagram", "datagram"});  // the end comes from the loop
  settle();
  CHECK(protocol->trace == Trace{"made", "datagram", "datagram", "lost"});
  CHECK(protocol->lost_with == nullptr);
  CHECK(protocol->data() == std::vector<std::string>{"one", "two"});
  CHECK(protocol->received.at(0).address == peer.address());
}

TEST_CASE_METHOD(Endpoint, "sendto reaches the address that it names, and an answer comes back") {
  const char* host = any_loopback();
  const DatagramPeer one(host), other(host);
  open_at(host);
  transport->sendto("for one", one.address());
  transport->sendto("for the other", other.address());
  const auto at_one = one.receive();
  REQUIRE(at_one);
  CHECK(at_one->data == "for one");
  CHECK(at_one->address == address());
  CHECK(other.receive_all() == std::vector<std::string>{"for the other"});
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "an empty datagram is one like any other, both ways") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  peer.send("", address());
  peer.send("after it", address());
  until_datagrams(2);
  CHECK(protocol->data() == std::vector<std::string>{"", "after it"});
  transport->sendto("", peer.address());
  CHECK(peer.receive_all() == std::vector<std::string>{""});
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "the largest UDP datagram arrives whole") {
  const char* host = any_loopback();
  const std::size_t largest = host == std::string("::1") ? 65'527 : 65'507;
  const DatagramPeer peer(host);
  open_at(host);
  const std::string data = pattern(largest);
  peer.send(data, address());
  until_datagrams(1);
  CHECK(same(protocol->data().at(0), data));
  transport->sendto(data, peer.address());
  CHECK(same(peer.receive().value().data, data));
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "a connected endpoint hears its peer alone, and sends there without an address or with it") {
  const char* host = any_loopback();
  const DatagramPeer peer(host), stranger(host);
  open_connected(peer.address());
  CHECK(transport->get_extra_info<Address>("peername") == peer.address());
  transport->sendto("without");
  transport->sendto("with", peer.address());
  CHECK(peer.receive_all() == std::vector<std::string>{"without", "with"});
  stranger.send("from a stranger", address());
  peer.send("from the peer", address());
  until_datagrams(1);
  settle();
  CHECK(protocol->data() == std::vector<std::string>{"from the peer"});
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "sendto to another address than the connected one is an error, and sends nothing") {
  const DatagramPeer peer, other;
  open_connected(peer.address());
  CHECK_THROWS_AS(transport->sendto("x", other.address()), std::invalid_argument);
  settle();
  CHECK(other.receive_all().empty());
  CHECK(protocol->errors.empty());
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "sendto without an address is an error where there is no peer") {
  open_at("127.0.0.1");
  CHECK_THROWS_AS(transport->sendto("x"), std::invalid_argument);
  end(transport);
}

TEST_CASE_METHOD(Endpoint,
                 "a refusal by ICMP reaches error_received; the endpoint works as soon as the peer is there") {
  const char* host = any_loopback();
  auto peer = std::make_unique<DatagramPeer>(host);
  const Address address = peer->address();
  peer.reset();
  open_connected(address);
  transport->sendto("is anybody there?");
  until([&] { return !protocol->errors.empty(); });
  CHECK_THROWS_AS(std::rethrow_exception(protocol->errors.at(0)), ConnectionRefusedError);
  CHECK_FALSE(transport->is_closing());
  const DatagramPeer late(address);
  transport->sendto("now?");
  CHECK(late.receive_all() == std::vector<std::string>{"now?"});
  late.send("yes", address_of(*transport));
  until_datagrams(1);
  CHECK(protocol->errors.size() == 1);
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "the datagram whose sending hears of an earlier one's refusal is sent all the same") {
  auto peer = std::make_unique<DatagramPeer>();
  const Address address = peer->address();
  peer.reset();
  open_connected(address);
  transport->sendto("refused");
  const DatagramPeer late(address);
  transport->sendto("the kernel tells this one of the refusal");
  CHECK(late.receive_all().size() == 1);
  CHECK(protocol->errors.empty());  // never from inside sendto()
  settle();
  REQUIRE(protocol->errors.size() == 1);
  CHECK(errno_of(protocol->errors[0]) == ECONNREFUSED);
  CHECK(describe(protocol->errors[0]).find(address.to_string()) != std::string::npos);
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "a datagram that is too long is told to error_received, and the next one is sent") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  transport->sendto(std::string(65'508, 'x'), peer.address());
  CHECK(protocol->errors.empty());
  transport->sendto("short", peer.address());
  settle();
  REQUIRE(protocol->errors.size() == 1);
  CHECK(errno_of(protocol->errors[0]) == EMSGSIZE);
  CHECK(peer.receive_all() == std::vector<std::string>{"short"});
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "sending to a broadcast address needs the option") {
  const Address broadcast = *Address::parse("127.255.255.255", 9);
  open_at("127.0.0.1");
  transport->sendto("x", broadcast);
  settle();
  REQUIRE(protocol->errors.size() == 1);
  CHECK(errno_of(protocol->errors[0]) == EACCES);
  end(transport);

  const DatagramPeer everybody("0.0.0.0");
  auto second = std::make_shared<DatagramRecorder>();
  auto sender = open(second, {.family = AF_INET, .allow_broadcast = true});
  sender->sendto("hear, hear", *Address::parse("127.255.255.255", everybody.port()));
  settle();
  CHECK(second->errors.empty());
  CHECK(everybody.receive_all() == std::vector<std::string>{"hear, hear"});
  end(sender);
}

TEST_CASE_METHOD(Endpoint, "an error that was met before close() or abort() is told before connection_lost") {
  const bool is_aborted = GENERATE(false, true);
  const DatagramPeer peer;
  open_at("127.0.0.1");
  transport->sendto(std::string(65'508, 'x'), peer.address());
  is_aborted ? transport->abort() : transport->close();
  settle();
  CHECK(protocol->trace == Trace{"made", "error", "lost"});
}

TEST_CASE_METHOD(Endpoint, "who answers an error by sending again goes round with the loop, not within it") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  protocol->on_error = [&] {
    if (protocol->errors.size() < 1000) transport->sendto(std::string(65'508, 'x'), peer.address());
  };
  transport->sendto(std::string(65'508, 'x'), peer.address());
  until([&] { return protocol->errors.size() == 1000; });
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "a protocol that throws over a datagram is reported, and hears the next one") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  protocol->on_datagram = [](std::string_view data, const Address&) {
    if (data == "bad") throw std::runtime_error("this one is bad");
  };
  peer.send("bad", address());
  peer.send("good", address());
  until_datagrams(2);
  const auto reports = take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message == "a protocol's datagram_received failed");
  CHECK(describe(reports[0].exception) == "this one is bad");
  CHECK_FALSE(transport->is_closing());
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "error_received that throws is reported") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  protocol->on_error = [] { throw std::runtime_error("no errors, please"); };
  transport->sendto(std::string(65'508, 'x'), peer.address());
  settle();
  CHECK(take_reports().size() == 1);
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "connection_made that throws is reported, and ends the endpoint") {
  protocol->on_made = [] { throw std::runtime_error("not today"); };
  open_at("127.0.0.1");
  settle();
  CHECK(protocol->trace == Trace{"made", "lost"});
  CHECK(describe(protocol->lost_with) == "not today");
  CHECK(take_reports().size() == 1);
}

TEST_CASE_METHOD(Endpoint, "callbacks of datagrams may not park") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  protocol->on_datagram = [](std::string_view, const Address&) { CHECK_THROWS_AS(sleep(0s), InvalidStateError); };
  peer.send("x", address());
  run([&] {
    while (protocol->received.empty()) sleep(0s);
  });
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "close() in datagram_received is the end of what is received, error or datagram") {
  auto peer = std::make_unique<DatagramPeer>();
  open_connected(peer->address());
  protocol->on_datagram = [&](std::string_view, const Address&) {
    peer.reset();
    transport->sendto("this will be refused");
    transport->close();
  };
  for (int i = 0; i < 5; ++i) peer->send("x", address());
  until([&] { return protocol->is_lost(); });
  settle();
  CHECK(protocol->received.size() == 1);
  CHECK(protocol->trace.back() == "lost");
}

TEST_CASE_METHOD(Endpoint, "close() and abort() may be called twice, and connection_lost comes once") {
  open_at("127.0.0.1");
  const bool is_aborted_first = GENERATE(false, true);
  for (int i = 0; i < 2; ++i) is_aborted_first ? transport->abort() : transport->close();
  CHECK(transport->is_closing());
  transport->abort();
  transport->close();
  settle();
  CHECK(protocol->trace == Trace{"made", "lost"});
}

TEST_CASE_METHOD(Endpoint, "after close() or abort() sendto is an error") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  GENERATE(false, true) ? transport->abort() : transport->close();
  CHECK_THROWS_AS(transport->sendto("x", peer.address()), InvalidStateError);
  settle();
  CHECK_THROWS_AS(transport->sendto("x", peer.address()), InvalidStateError);
  CHECK_THROWS_AS(transport->join_group({"239.1.2.3"}), InvalidStateError);
  CHECK_THROWS_AS(transport->leave_group({"239.1.2.3"}), InvalidStateError);
  transport->set_write_buffer_limits({.high_bytes = 0});
  CHECK(transport->get_protocol() == nullptr);
  CHECK_FALSE(transport->get_extra_info<Address>("sockname"));
}

TEST_CASE_METHOD(Endpoint, "an endpoint whose handle was dropped goes on") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  const Address address = address_of(*transport);
  transport = nullptr;
  protocol->on_datagram = [&](std::string_view data, const Address& from) {
    protocol->transport->sendto(data, from);
    protocol->transport->close();
  };
  peer.send("still there?", address);
  until([&] { return protocol->is_lost(); });
  CHECK(peer.receive_all() == std::vector<std::string>{"still there?"});
}

TEST_CASE_METHOD(Endpoint, "set_protocol changes who hears of datagrams, from the next one on") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  auto second = std::make_shared<DatagramRecorder>();
  std::weak_ptr<DatagramRecorder> first = protocol;
  protocol->on_datagram = [&, transport = transport](std::string_view, const Address&) {
    protocol = nullptr;  // it stays alive until it has returned
    transport->set_protocol(second);
    CHECK_FALSE(first.expired());
  };
  peer.send("one", address());
  peer.send("two", address());
  until([&] { return second->received.size() == 1; });
  CHECK(first.expired());
  CHECK(transport->get_protocol() == second);
  CHECK_THROWS_AS(transport->set_protocol(nullptr), std::invalid_argument);
  CHECK_THROWS_AS(transport->set_protocol(std::make_shared<Recorder>()), std::invalid_argument);
  end(transport);
  CHECK(second->trace == Trace{"datagram", "lost"});
}

TEST_CASE_METHOD(Endpoint, "a flood on one endpoint holds up neither callbacks nor another endpoint") {
  const DatagramPeer flood, trickle;
  open_at("127.0.0.1");
  auto second = std::make_shared<DatagramRecorder>();
  auto other = open(second, {.local_addr = {"127.0.0.1", 0}});
  std::size_t most_in_one_turn = 0, in_this_turn = 0;
  protocol->on_datagram = [&](std::string_view, const Address&) {
    if (in_this_turn++ == 0) loop().call_soon([&] { in_this_turn = 0; });
    most_in_one_turn = std::max(most_in_one_turn, in_this_turn);
    flood.send("more", address());  // there is always more
  };
  std::size_t before_the_other = 0;
  second->on_datagram = [&](std::string_view, const Address&) { before_the_other = protocol->received.size(); };
  for (int i = 0; i < 200; ++i) flood.send("more", address());
  trickle.send("me too", address_of(*other));
  until([&] { return protocol->received.size() > 2'000; });
  CHECK(most_in_one_turn <= 16);
  CHECK(second->received.size() == 1);
  CHECK(before_the_other < 500);
  transport->abort();
  end(other);
}

TEST_CASE_METHOD(Endpoint, "timers stay punctual under a flood") {
  if (kind() == LoopKind::foreign) return;  // its clock stands still while there is anything to do
  const DatagramPeer flood;
  open_at("127.0.0.1");
  protocol->on_datagram = [&](std::string_view, const Address&) { flood.send("more", address()); };
  for (int i = 0; i < 200; ++i) flood.send("more", address());
  const TimePoint start = loop().time();
  bool is_over = false;
  loop().call_later(20ms, [&] { is_over = true; });
  until([&] { return is_over; });
  CHECK(loop().time() - start < Duration(10s));  // 50 ms late on a machine of one's own
  transport->abort();
  settle();
}

TEST_CASE_METHOD(Endpoint, "get_extra_info names the socket, and counts what the kernel dropped") {
  const DatagramPeer peer;
  open_at("127.0.0.1");
  CHECK(address().host() == "127.0.0.1");
  CHECK(address().port() != 0);
  CHECK_FALSE(transport->get_extra_info<Address>("peername"));
  CHECK_FALSE(transport->get_extra_info<int>("nonsense"));
  const int fd = transport->get_extra_info<int>("socket").value();
  CHECK(transport->get_extra_info<std::uint32_t>("dropped_count") == 0U);
  const int least = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
  for (int i = 0; i < 10; ++i) peer.send(std::string(2000, 'x'), address());
  const auto dropped = transport->get_extra_info<std::uint32_t>("dropped_count").value();
  CHECK(dropped > 0);
  settle();
  CHECK(protocol->received.size() + dropped == 10);
  end(transport);
}

TEST_CASE_METHOD(Endpoint, "a loop that closes ends its endpoints") {
  open_at("127.0.0.1");
  loop().close();
  CHECK(protocol->trace == Trace{"made", "lost"});
  CHECK_THROWS_AS(loop().create_datagram_endpoint([&] { return protocol; }, {.family = AF_INET}), InvalidStateError);
}

TEST_CASE("run() ends the endpoints that are left") {
  auto protocol = std::make_shared<DatagramRecorder>();
  run([&] {
    await(get_event_loop().create_datagram_endpoint([&] { return protocol; }, {.local_addr = {"127.0.0.1", 0}}));
  });
  CHECK(protocol->trace == Trace{"made", "lost"});
}

// Waiting to be sent.  A connected Unix socket blocks when its peer's queue, ten datagrams or so, is full.

namespace {

class FullPeer : public Endpoint {
 public:
  FullPeer() : peer(unused_unix_address()) {}
  /// Fills the peer's queue; how many went in.
  std::size_t fill() {
    std::size_t count = 0;
    while (transport->get_write_buffer_size() == 0) {
      REQUIRE(count < 10'000);
      transport->sendto(name(count++), destination);
    }
    return count;
  }
  static std::string name(std::size_t i) { return "datagram " + std::to_string(i); }
  /// Reads until so many have come.
  std::vector<std::string> receive(std::size_t count) {
    std::vector<std::string> all;
    until([&] {
      for (auto& data : peer.receive_all()) all.push_back(std::move(data));
      return all.size() >= count;
    });
    return all;
  }

  DatagramPeer peer;
  Address destination;  // empty: connected
};

}  // namespace

TEST_CASE_METHOD(FullPeer, "what the kernel does not take is kept, and sent in order") {
  const bool is_connected = GENERATE(true, false);
  transport = is_connected ? open(protocol, {.remote_addr = peer.address()}) : open(protocol, {.family = AF_UNIX});
  if (!is_connected) destination = peer.address();
  const std::size_t filled = fill();
  CHECK(transport->get_write_buffer_size() == name(filled - 1).size());
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < filled + 100; ++i) expected.push_back(name(i));
  for (std::size_t i = filled; i < expected.size(); ++i) transport->sendto(expected[i], destination);
  CHECK(receive(expected.size()) == expected);
  settle();
  CHECK(transport->get_write_buffer_size() == 0);
  CHECK(protocol->errors.empty());
  end(transport);
}

TEST_CASE_METHOD(FullPeer, "room of which nothing tells is tried for more and more seldom") {
  if (kind() == LoopKind::foreign) return;  // its clock jumps
  transport = open(protocol, {.family = AF_UNIX});
  destination = peer.address();
  fill();
  static int attempts;
  attempts = 0;
  const PatchedSystem patched;
  sys.sendmsg = [](int fd, const msghdr* message, int flags) { return ++attempts, ::sendmsg(fd, message, flags); };
  loop().call_later(200ms, [&] { loop().stop(); });
  loop().run_forever();
  CHECK(attempts > 2);
  CHECK(attempts < 20);  // after 1, 2, 4, ... 64, 64 ms
  transport->abort();
  settle();
}

TEST_CASE_METHOD(FullPeer,
                 "writing pauses above the high-water mark and resumes at the low one; an empty datagram counts") {
  transport = open(protocol, {.remote_addr = peer.address()});
  CHECK_THROWS_AS(transport->set_write_buffer_limits({.high_bytes = 1, .low_bytes = 2}), std::invalid_argument);
  transport->set_write_buffer_limits({.high_bytes = 20, .low_bytes = 2});
  const std::size_t filled = fill();
  const std::size_t size = transport->get_write_buffer_size();
  for (std::size_t i = size; i < 20; ++i) transport->sendto("");
  CHECK(transport->get_write_buffer_size() == 20);
  CHECK(protocol->trace == Trace{"made"});
  transport->sendto("");
  transport->sendto("");
  CHECK(protocol->trace == Trace{"made", "pause"});
  receive(filled + 22 - size);
  settle();
  CHECK(protocol->trace == Trace{"made", "pause", "resume"});
  end(transport);
}

TEST_CASE_METHOD(FullPeer, "a lower limit pauses at once, a higher one resumes") {
  transport = open(protocol, {.remote_addr = peer.address()});
  fill();
  transport->set_write_buffer_limits({.high_bytes = 0});
  CHECK(transport->get_write_buffer_limits().low_bytes == 0U);
  CHECK(protocol->trace == Trace{"made", "pause"});
  transport->set_write_buffer_limits({.high_bytes = 1000});
  CHECK(protocol->trace == Trace{"made", "pause", "resume"});
  transport->abort();
  settle();
}

TEST_CASE_METHOD(FullPeer, "close() sends what is kept, and then is the end") {
  transport = open(protocol, {.remote_addr = peer.address()});
  const std::size_t filled = fill();
  transport->sendto("the last");
  transport->close();
  settle();
  CHECK_FALSE(protocol->is_lost());
  CHECK(receive(filled + 1).back() == "the last");
  until([&] { return protocol->is_lost(); });
  CHECK(protocol->lost_with == nullptr);
}

TEST_CASE_METHOD(FullPeer, "abort() drops what is kept") {
  transport = open(protocol, {.remote_addr = peer.address()});
  const std::size_t filled = fill();
  transport->abort();
  settle();
  CHECK(protocol->is_lost());
  CHECK(peer.receive_all().size() == filled - 1);
}

TEST_CASE_METHOD(FullPeer,
                 "a peer that is gone is an error for each datagram that is kept, and the endpoint stays open") {
  transport = open(protocol, {.remote_addr = peer.address()});
  fill();
  transport->sendto("another");
  peer.close();
  until([&] { return protocol->errors.size() >= 2; });
  CHECK(errno_of(protocol->errors[0]) == ECONNREFUSED);
  CHECK(transport->get_write_buffer_size() == 0);
  CHECK_FALSE(transport->is_closing());
  end(transport);
}

TEST_CASE("what an endpoint could not send before its loop closed is reported") {
  DatagramTest test(LoopKind::foreign);  // a clock that jumps: the time to finish passes at once
  const DatagramPeer peer(unused_unix_address());
  auto protocol = std::make_shared<DatagramRecorder>();
  auto transport = test.open(protocol, {.family = AF_UNIX});
  while (transport->get_write_buffer_size() == 0) transport->sendto("12345", peer.address());
  test.loop().close();
  const auto reports = test.take_reports();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].message.find("5 bytes to the peers of ") == 0);
  CHECK(protocol->trace.back() == "lost");
}

TEST_CASE_METHOD(Endpoint,
                 "a Unix datagram as long as a socket sends arrives whole, from one without an address as well") {
  const Address here = unused_unix_address();
  transport = open(protocol, {.local_addr = here});
  CHECK(address() == here);
  const std::string data = pattern(200'000);
  const int nameless = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int room = 1'000'000;
  ::setsockopt(nameless, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  REQUIRE(::sendto(nameless, data.data(), data.size(), 0, here.data(), here.size()) ==
          static_cast<ssize_t>(data.size()));
  until_datagrams(1);
  CHECK(same(protocol->data().at(0), data));
  CHECK(protocol->received.at(0).address.family() == AF_UNSPEC);
  ::close(nameless);
  end(transport);
}
