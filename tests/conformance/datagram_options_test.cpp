// How sockets for datagrams are opened: semantics row 84, and what its options do.
#include <tulp/datagram_socket.hpp>
#include <tulp/datagram_transport.hpp>
#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "support/datagrams.hpp"
#include "support/names.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

template <class Call>
std::exception_ptr thrown_by(Call call) {
  try {
    call();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

/// What opening fails with; both forms must agree.
std::exception_ptr failure_of(DatagramTest& test, const DatagramOptions& options) {
  const auto endpoint = thrown_by([&] { test.open(std::make_shared<DatagramRecorder>(), options); });
  const auto socket = thrown_by([&] { test.run([&] { open_datagram_socket(options); }); });
  CHECK(describe(endpoint) == describe(socket));
  return socket;
}

template <class Error>
bool is(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

TEST_CASE_METHOD(DatagramTest,
                 "names are resolved, of the local and of the remote address, and their families go together") {
  const FakeNames names({"::1", "127.0.0.1"});
  run([&] {
    const DatagramPeer peer("127.0.0.1");
    DatagramSocket named = open_datagram_socket({.local_addr = {"here.example", 0}});
    CHECK(address_of(named).host() == "::1");
    DatagramSocket both =
        open_datagram_socket({.local_addr = {"127.0.0.1", 0}, .remote_addr = {"there.example", peer.port()}});
    CHECK(both.get_extra_info<Address>("peername") == peer.address());
    DatagramSocket of_family = open_datagram_socket({.remote_addr = {"there.example", 9}, .family = AF_INET});
    CHECK(address_of(of_family).family() == AF_INET);
  });
}

TEST_CASE_METHOD(DatagramTest, "the next address of a name is tried when one fails") {
  const FakeNames names({"192.0.2.77", "127.0.0.1"});  // the first one is not this machine's
  run([&] {
    DatagramSocket socket = open_datagram_socket({.local_addr = {"here.example", 0}});
    CHECK(address_of(socket).host() == "127.0.0.1");
  });
}

TEST_CASE_METHOD(DatagramTest, "if no address works, the error lists them all") {
  const FakeNames names({"192.0.2.77", "192.0.2.78"});
  const std::string what = describe(failure_of(*this, {.local_addr = {"here.example", 5}}));
  CHECK(what.find("datagrams from here.example:5 (bind 192.0.2.77:5: ") == 0);
  CHECK(what.find("; bind 192.0.2.78:5: ") != std::string::npos);
}

TEST_CASE_METHOD(DatagramTest, "a name without an address is a ResolveError") {
  const FakeNames names({});
  CHECK(is<ResolveError>(failure_of(*this, {.remote_addr = {"nowhere.example", 1}})));
}

TEST_CASE_METHOD(DatagramTest, "an address that is taken is an OsError that names it") {
  const DatagramPeer peer;
  const auto error = failure_of(*this, {.local_addr = peer.address()});
  CHECK(errno_of(error) == EADDRINUSE);
  CHECK(describe(error).find("bind " + peer.address().to_string() + ": ") == 0);
}

TEST_CASE_METHOD(DatagramTest, "addresses of different families do not go together") {
  CHECK(errno_of(failure_of(*this, {.local_addr = {"127.0.0.1", 0}, .remote_addr = {"::1", 9}})) == EAFNOSUPPORT);
  CHECK(errno_of(failure_of(*this, {.local_addr = Address::unix_path("/x"), .family = AF_INET})) == EAFNOSUPPORT);
  CHECK(is<ResolveError>(failure_of(*this, {.remote_addr = {"", 9}})));
}

TEST_CASE_METHOD(DatagramTest, "an empty host is all addresses of a family: IPv4, or what family or remote_addr say") {
  run([] {
    const DatagramPeer peer("::1");
    auto host_of = [](const DatagramOptions& options) { return address_of(open_datagram_socket(options)).host(); };
    CHECK(host_of({.local_addr = {"", 0}}) == "0.0.0.0");
    CHECK(host_of({.local_addr = {"", 0}, .family = AF_INET6}) == "::");
    CHECK(host_of({.local_addr = {"", 0}, .remote_addr = peer.address()}) == "::1");  // chosen by connecting
  });
}

TEST_CASE_METHOD(DatagramTest, "without address, family and socket there is nothing to open") {
  CHECK(is<std::invalid_argument>(failure_of(*this, {})));
}

TEST_CASE_METHOD(DatagramTest, "a family alone opens a socket that the first sendto binds") {
  run([&] {
    const DatagramPeer peer;
    DatagramSocket socket = open_datagram_socket({.family = AF_INET});
    CHECK(address_of(socket).port() == 0);
    socket.sendto("x", peer.address());
    CHECK(peer.receive().value().address.port() == address_of(socket).port());
  });
}

TEST_CASE_METHOD(DatagramTest, "a factory that throws or gives null fails the Future, and no socket stays open") {
  auto failing = loop().create_datagram_endpoint(
      []() -> std::shared_ptr<DatagramRecorder> { throw std::runtime_error("no protocol today"); },
      {.family = AF_INET});
  CHECK_THROWS_WITH(loop().run_until_complete(failing), "no protocol today");
  auto null = loop().create_datagram_endpoint([] { return std::shared_ptr<DatagramRecorder>(); }, {.family = AF_INET});
  CHECK_THROWS_AS(loop().run_until_complete(null), std::invalid_argument);
}

TEST_CASE_METHOD(DatagramTest, "a Future that is cancelled in time leaves no endpoint") {
  auto protocol = std::make_shared<DatagramRecorder>();
  auto opening = loop().create_datagram_endpoint([&] { return protocol; }, {.local_addr = {"127.0.0.1", 0}});
  opening.cancel();
  settle();
  CHECK(opening.cancelled());
  CHECK(protocol->trace.empty());
}

TEST_CASE_METHOD(DatagramTest, "reuse_port lets two sockets share a port, if both ask for it") {
  run([&] {
    DatagramSocket first = open_datagram_socket({.local_addr = {"127.0.0.1", 0}, .reuse_port = true});
    CHECK_THROWS_AS(open_datagram_socket({.local_addr = address_of(first)}), OsError);
    DatagramSocket second = open_datagram_socket({.local_addr = address_of(first), .reuse_port = true});
    CHECK(address_of(second) == address_of(first));
  });
}

TEST_CASE_METHOD(DatagramTest, "ipv6_only keeps IPv4 out of a socket for all addresses, or lets it in") {
  run([&] {
    const DatagramPeer v4("127.0.0.1");
    DatagramSocket both = open_datagram_socket({.local_addr = {"::", 0}, .ipv6_only = false});
    v4.send("x", *Address::parse("127.0.0.1", address_of(both).port()));
    const Datagram received = both.recvfrom();
    CHECK(received.address.to_string() == "[::ffff:127.0.0.1]:" + std::to_string(v4.port()));
    both.sendto("back", received.address);
    CHECK(v4.receive_all() == std::vector<std::string>{"back"});

    DatagramSocket one = open_datagram_socket({.local_addr = {"::", 0}, .ipv6_only = true});
    DatagramSocket beside = open_datagram_socket({.local_addr = {"0.0.0.0", address_of(one).port()}});
    v4.send("x", *Address::parse("127.0.0.1", address_of(one).port()));
    CHECK(beside.recvfrom().data == "x");
  });
}

// Groups, on the loopback interface.

TEST_CASE_METHOD(DatagramTest, "a group is heard from the options on, or from join_group to leave_group") {
  run([&] {
    DatagramSocket listener =
        open_datagram_socket({.local_addr = {"239.255.7.7", 0}, .multicast_groups = {{"239.255.7.7", "lo"}}});
    const Address group = *Address::parse("239.255.7.7", address_of(listener).port());
    DatagramSocket sender =
        open_datagram_socket({.local_addr = {"127.0.0.1", 0}, .multicast_ttl = 0, .multicast_interface = "lo"});
    sender.sendto("one", group);
    CHECK(listener.recvfrom().data == "one");
    listener.leave_group({"239.255.7.7", "lo"});
    sender.sendto("unheard", group);
    listener.join_group({.address = "239.255.7.7", .interface = "1"});  // by its number
    sender.sendto("two", group);
    CHECK(listener.recvfrom().data == "two");
  });
}

TEST_CASE_METHOD(DatagramTest,
                 "an endpoint joins and leaves groups, and several sockets of a port hear each datagram") {
  auto first = std::make_shared<DatagramRecorder>(), second = std::make_shared<DatagramRecorder>();
  auto one =
      open(first, {.local_addr = {"0.0.0.0", 0}, .reuse_port = true, .multicast_groups = {{"239.255.7.8", "lo"}}});
  const std::uint16_t port = address_of(*one).port();
  auto other = open(second, {.local_addr = {"0.0.0.0", port}, .reuse_port = true});
  other->join_group({"239.255.7.8", "lo"});
  auto sender = open(std::make_shared<DatagramRecorder>(),
                     {.family = AF_INET, .multicast_loop = true, .multicast_interface = "lo"});
  sender->sendto("to all", *Address::parse("239.255.7.8", port));
  until([&] { return first->received.size() + second->received.size() == 2; });
  CHECK(first->data() == std::vector<std::string>{"to all"});
  CHECK(second->data() == std::vector<std::string>{"to all"});
  other->leave_group({"239.255.7.8", "lo"});
  CHECK_THROWS_AS(other->leave_group({"239.255.7.8", "lo"}), OsError);
  for (const auto& transport : {one, other, sender}) transport->close();
  settle();
}

TEST_CASE_METHOD(DatagramTest, "options of groups that cannot be are errors that name them") {
  CHECK(is<std::invalid_argument>(failure_of(*this, {.family = AF_INET, .multicast_groups = {{"all.example"}}})));
  const auto no_interface = failure_of(*this, {.family = AF_INET, .multicast_groups = {{"239.1.2.3", "nix0"}}});
  CHECK(errno_of(no_interface) == ENODEV);
  CHECK(describe(no_interface).find("nix0") != std::string::npos);
  CHECK(describe(failure_of(*this, {.family = AF_INET, .multicast_ttl = 256})).find("multicast_ttl 256: ") == 0);
  CHECK(describe(failure_of(*this, {.family = AF_INET, .multicast_groups = {{"10.1.2.3"}}}))
            .find("join group 10.1.2.3") == 0);
  CHECK(is<OsError>(failure_of(*this, {.family = AF_INET, .multicast_interface = "nix0"})));
}

TEST_CASE_METHOD(DatagramTest, "the options of IPv6 groups reach an IPv6 socket") {
  run([&] {
    DatagramSocket socket = open_datagram_socket(
        {.family = AF_INET6, .multicast_ttl = 3, .multicast_loop = false, .multicast_interface = "lo"});
    auto option = [fd = socket.get_extra_info<int>("socket").value()](int name) {
      int value = -1;
      socklen_t size = sizeof value;
      CHECK(::getsockopt(fd, IPPROTO_IPV6, name, &value, &size) == 0);
      return value;
    };
    CHECK(option(IPV6_MULTICAST_HOPS) == 3);
    CHECK(option(IPV6_MULTICAST_LOOP) == 0);
    CHECK(option(IPV6_MULTICAST_IF) == 1);
  });
}

// A socket of the caller's.

TEST_CASE_METHOD(DatagramTest, "sock is taken over as it is: bound, connected, blocking or not") {
  run([&] {
    const DatagramPeer peer;
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const Address address = peer.address();
    REQUIRE(::connect(fd, address.data(), address.size()) == 0);
    DatagramSocket socket = open_datagram_socket({.sock = fd});
    CHECK(socket.get_extra_info<int>("socket") == fd);
    CHECK(socket.get_extra_info<Address>("peername") == address);
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    socket.sendto("x");
    CHECK(peer.receive_all() == std::vector<std::string>{"x"});
    socket.close();
    CHECK(::fcntl(fd, F_GETFD) == -1);
  });
}

TEST_CASE_METHOD(DatagramTest, "sock stays the caller's if the options cannot be, which the call itself says") {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int stream = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (const DatagramOptions& options : std::vector<DatagramOptions>{
           {.family = AF_INET, .sock = fd},
           {.local_addr = {"127.0.0.1", 0}, .sock = fd},
           {.remote_addr = {"127.0.0.1", 9}, .sock = fd},
           {.reuse_port = true, .sock = fd},
           {.multicast_groups = {{"all.example"}}, .sock = fd},
           {.sock = stream},
           {.sock = 9999},
       }) {
    CHECK(is<std::invalid_argument>(failure_of(*this, options)));
    auto factory = [] { return std::make_shared<DatagramRecorder>(); };
    CHECK_THROWS_AS(loop().create_datagram_endpoint(factory, options), std::invalid_argument);
  }
  CHECK(::close(fd) == 0);
  CHECK(::close(stream) == 0);
}

TEST_CASE_METHOD(DatagramTest, "sock is closed whatever else becomes of the call: failure or cancellation") {
  auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) != -1; };
  auto make = [] { return ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); };
  const int failing = make();
  auto null = loop().create_datagram_endpoint([] { return std::shared_ptr<DatagramRecorder>(); }, {.sock = failing});
  CHECK_THROWS_AS(loop().run_until_complete(null), std::invalid_argument);
  CHECK_FALSE(is_open(failing));
  const int cancelled = make();
  {
    auto opening =
        loop().create_datagram_endpoint([] { return std::make_shared<DatagramRecorder>(); }, {.sock = cancelled});
    opening.cancel();
    settle();
  }
  CHECK_FALSE(is_open(cancelled));
}

TEST_CASE_METHOD(DatagramTest,
                 "whoever waits for create_datagram_endpoint goes on before the first datagram is received") {
  const DatagramPeer peer;
  const DatagramPeer early;  // has a datagram before it has an endpoint
  peer.send("early", early.address());
  auto protocol = std::make_shared<DatagramRecorder>();
  run([&] {
    auto [transport, same] = await(
        loop().create_datagram_endpoint([&] { return protocol; }, {.sock = ::fcntl(early.fd(), F_DUPFD_CLOEXEC, 0)}));
    CHECK(protocol->trace == Trace{"made"});
    while (protocol->received.empty()) sleep(0s);
    transport->close();
  });
  settle();
  CHECK(protocol->data() == std::vector<std::string>{"early"});
}
