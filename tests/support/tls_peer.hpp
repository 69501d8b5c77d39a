// The other end of a TLS connection: an engine on a plain socket, moved by hand.
#pragma once
#include <tulp/task.hpp>

#include <string>
#include <utility>

#include "support/engines.hpp"
#include "support/net.hpp"

namespace tulp::test {

class TlsPeer {
 public:
  TlsPeer(Peer connected, const SslContext& context, detail::SslTarget target = {})
      : socket(std::move(connected)), end(context, std::move(target)) {}

  /// Takes what has come, and sends what there is to say.
  void go_on() {
    socket.collect();
    const std::string bytes = std::exchange(socket.received, {});
    end.engine.receive(bytes);
    if (socket.has_ended) end.engine.receive_end();
    end.go_on();
    end.engine.keep_input();
    flush();
  }
  void flush() {
    if (!end.engine.output().empty()) socket.send(std::exchange(end.engine.output(), {}));
  }
  void write(std::string_view data) {
    end.engine.write(data);
    flush();
  }
  void write_end() {
    end.engine.write_end();
    flush();
  }
  /// In a task: lets others run until `done()`.
  template <class Done>
  void until(Done done) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (go_on(); !done(); go_on()) {
      if (std::chrono::steady_clock::now() > limit) FAIL("it did not happen within 20 seconds");
      sleep(std::chrono::seconds(0));
    }
  }
  void shake_hands() {
    until([&] { return end.is_open(); });
  }

  Peer socket;
  EngineEnd end;
};

/// A test of connections, with certificates.
class TlsTest : public NetTest {
 public:
  using NetTest::NetTest;
  Certificates certificates;
};

}  // namespace tulp::test
