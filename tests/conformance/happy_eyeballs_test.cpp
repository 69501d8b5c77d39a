// Happy Eyeballs: modern rows 28 and 29, RFC 8305.
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>
#include <tulp/wait.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/names.hpp"
#include "support/net.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// A host with several addresses, each of which answers, refuses, or is dead: connecting to it does not end.
class Host {
 public:
  Host(EventLoop& loop, const std::vector<std::pair<std::string, std::string>>& addresses)
      : names_(texts_of(addresses)) {
    state() = {};
    state().loop = &loop;
    state().addresses = addresses;
    for (const auto& [address, manner] : addresses) {
      state().ports.push_back(manner == "dead" ? dead_.port()
                              : manner == "refuses"
                                  ? closed_.port()
                                  : listeners_.emplace_back(std::make_unique<PlainListener>())->port());
    }
    sys.connect = [](int fd, const sockaddr* address, socklen_t size) {
      const std::string asked = Address(address, size).host();
      state().calls.push_back(asked);
      state().times.push_back(state().loop->time());
      for (std::size_t i = 0; i < state().addresses.size(); ++i) {
        if (state().addresses[i].first != asked) continue;
        if (address->sa_family == AF_INET6) return errno = ENETUNREACH, -1;
        const sockaddr_in real = loopback_address(state().ports[i]);
        return ::connect(fd, reinterpret_cast<const sockaddr*>(&real), sizeof real);
      }
      return errno = EHOSTUNREACH, -1;
    };
  }
  /// The addresses that were tried, in order.
  const Trace& calls() const { return state().calls; }
  /// When each was, from the first on.
  Duration time_of(std::size_t call) const { return state().times.at(call) - state().times.at(0); }
  Peer accept(std::size_t index = 0) const { return listeners_.at(index)->accept(); }

 private:
  struct State {
    EventLoop* loop = nullptr;
    std::vector<std::pair<std::string, std::string>> addresses;
    std::vector<std::uint16_t> ports;
    Trace calls;
    std::vector<TimePoint> times;
  };
  static State& state() {
    static State one;
    return one;
  }
  static std::vector<std::string> texts_of(const std::vector<std::pair<std::string, std::string>>& addresses) {
    std::vector<std::string> texts;
    for (const auto& address : addresses) texts.push_back(address.first);
    return texts;
  }

  FakeNames names_;
  BlackHole dead_;
  ClosedPort closed_;
  std::vector<std::unique_ptr<PlainListener>> listeners_;
};

/// Ends the loop's threads before the test counts descriptors.
class Eyeballs : public CallingNetTest {
 public:
  using CallingNetTest::CallingNetTest;
  ~Eyeballs() noexcept(false) { loop().close(); }
  Streams open(ConnectOptions options = {}) { return open_connection("host.example", 80, std::move(options)); }
};

}  // namespace

TEST_CASE_METHOD(InVirtualTime<Eyeballs>,
                 "a dead first address costs the delay, and then the next one is tried beside it") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "answers"}});
  const std::size_t before = open_fd_count();
  run([&] {
    Streams streams = open({.happy_eyeballs_delay = 2s});
    CHECK(host.calls() == Trace{"127.0.0.2", "127.0.0.3"});
    CHECK(host.time_of(1) == 2s);
    CHECK(open_fd_count() == before + 1);  // the dead attempt is closed
    host.accept().send("hello\n");
    CHECK(streams.reader.readline() == "hello\n");
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "the delay is 250 ms unless the options say otherwise") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "dead"}, {"127.0.0.4", "answers"}});
  run([&] { open().writer.transport().abort(); });
  CHECK(host.time_of(1) == 250ms);
  CHECK(host.time_of(2) == 500ms);
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "an address that fails does not delay the next one") {
  const Host host(loop(), {{"127.0.0.2", "refuses"}, {"::2", "unreachable"}, {"127.0.0.3", "answers"}});
  run([&] {
    Streams streams = open({.happy_eyeballs_delay = 1h});
    CHECK(host.calls() == Trace{"127.0.0.2", "::2", "127.0.0.3"});
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "one that fails while a dead one is under way lets the next begin at once") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "refuses"}, {"127.0.0.4", "answers"}});
  run([&] { open().writer.transport().abort(); });
  REQUIRE(host.calls().size() == 3);
  CHECK(host.time_of(2) == host.time_of(1));
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>,
                 "the families alternate, beginning with the first one; interleave = 0 keeps the order") {
  const std::vector<std::pair<std::string, std::string>> addresses = {
      {"::2", ""}, {"::3", ""}, {"::4", ""}, {"127.0.0.2", "refuses"}, {"127.0.0.3", "refuses"}};
  const auto order_with = [&](unsigned count) {
    const Host host(loop(), addresses);
    run([&] { CHECK_THROWS_AS(open({.interleave = count}), OsError); });
    return host.calls();
  };
  CHECK(order_with(1) == Trace{"::2", "127.0.0.2", "::3", "127.0.0.3", "::4"});
  CHECK(order_with(2) == Trace{"::2", "::3", "127.0.0.2", "::4", "127.0.0.3"});
  CHECK(order_with(0) == Trace{"::2", "::3", "::4", "127.0.0.2", "127.0.0.3"});
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "with a delay of Duration::max() the addresses are tried one after another") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "answers"}});
  run([&] {
    auto connecting = create_task([&] { open({.happy_eyeballs_delay = Duration::max()}); });
    while (host.calls().empty()) sleep(0s);
    sleep(1h);
    CHECK(host.calls() == Trace{"127.0.0.2"});
    connecting.cancel();
    CHECK_THROWS_AS(await(connecting), FutureCancelledError);
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "with no delay all addresses are tried at once, and the losers are closed") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "dead"}, {"127.0.0.4", "answers"}});
  const std::size_t before = open_fd_count();
  run([&] {
    Streams streams = open({.happy_eyeballs_delay = 0s});
    CHECK(host.calls().size() == 3);
    CHECK(open_fd_count() == before + 1);
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>,
                 "if two stand at the same time the one that was tried first wins, and the other is closed") {
  const Host host(loop(), {{"127.0.0.2", "answers"}, {"127.0.0.3", "answers"}});
  static int hidden;
  hidden = 3;  // both are under way, and then both stand
  sys.getpeername = [](int fd, sockaddr* address, socklen_t* size) {
    return hidden-- > 0 ? (errno = ENOTCONN, -1) : ::getpeername(fd, address, size);
  };
  run([&] {
    Streams streams = open({.happy_eyeballs_delay = 0s});
    Peer winner = host.accept(0), loser = host.accept(1);
    CHECK(loser.is_over());
    winner.send("you are it\n");
    CHECK(streams.reader.readline() == "you are it\n");
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "an early attempt may still win after others have begun") {
  const Host host(loop(), {{"127.0.0.2", "answers"}, {"127.0.0.3", "dead"}, {"127.0.0.4", "dead"}});
  static const Trace* calls;
  calls = &host.calls();
  sys.getpeername = [](int fd, sockaddr* address, socklen_t* size) {
    return calls->size() < 3 ? (errno = ENOTCONN, -1) : ::getpeername(fd, address, size);
  };
  run([&] {
    Streams streams = open({.happy_eyeballs_delay = 0s});
    host.accept().send("first\n");
    CHECK(streams.reader.readline() == "first\n");
    streams.writer.transport().abort();
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>,
                 "when all have failed, at whatever time, the message has the reason of each in their order") {
  const Host host(loop(), {{"127.0.0.2", "refuses"}, {"::2", "unreachable"}, {"127.0.0.3", "refuses"}});
  run([&] {
    const std::string message = message_of([&] { open(); });
    INFO(message);
    const auto refused = message.find("127.0.0.2:80: Connection refused"),
               unreachable = message.find("[::2]:80: Network is unreachable"),
               last = message.find("127.0.0.3:80: Connection refused");
    CHECK(refused < unreachable);
    CHECK(unreachable < last);
    CHECK(last != std::string::npos);
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "the timeout covers all attempts, and closes those that are under way") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "dead"}, {"127.0.0.4", "dead"}});
  const std::size_t before = open_fd_count();
  run([&] {
    CHECK_THROWS_AS(open({.timeout = 60ms, .happy_eyeballs_delay = 5ms}), TimeoutError);
    CHECK(host.calls().size() == 3);
    CHECK(open_fd_count() == before);
  });
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "cancelling with several attempts under way closes them all") {
  const Host host(loop(), {{"127.0.0.2", "dead"}, {"127.0.0.3", "dead"}, {"127.0.0.4", "dead"}});
  const std::size_t before = open_fd_count();
  for (std::size_t stage = 0; stage <= 3; ++stage) {  // at once, or when so many are under way
    INFO(stage);
    const std::size_t calls_before = host.calls().size();
    run([&] {
      auto connecting = create_task([&] { open({.happy_eyeballs_delay = 1ms}); });
      while (stage > 0 && host.calls().size() < calls_before + stage) sleep(1ms);
      connecting.cancel();
      CHECK_THROWS_AS(await(connecting), FutureCancelledError);
      CHECK(open_fd_count() == before);
    });
  }
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>,
                 "a look-up, an attempt and an established connection can each be cancelled by the Future") {
  const Host host(loop(), {{"127.0.0.2", "dead"}});
  const std::size_t before = open_fd_count();
  for (int steps = 0; steps < 8; ++steps) {
    auto connecting = loop().create_connection([] { return std::make_shared<Recorder>(); }, "host.example", 80);
    for (int i = 0; i < steps; ++i) run_once();
    CHECK(connecting.cancel());
    settle();
    CHECK(connecting.cancelled());
    CHECK(open_fd_count() == before);
  }
}

TEST_CASE_METHOD(InVirtualTime<Eyeballs>, "an attempt for which there is no descriptor is one that failed") {
  const Host host(loop(), {{"127.0.0.2", "answers"}, {"127.0.0.3", "answers"}});
  static int left;
  left = 1;
  sys.socket = [](int family, int type, int protocol) {
    return left-- > 0 ? (errno = EMFILE, -1) : ::socket(family, type, protocol);
  };
  run([&] {
    open().writer.transport().abort();
    CHECK(host.calls() == Trace{"127.0.0.3"});
    left = 2;
    CHECK_THROWS_AS(open(), OsError);
    left = 2;
    CHECK(message_of([&] { open(); }).find("Too many open files") != std::string::npos);
  });
}
