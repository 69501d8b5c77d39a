// Servers whose connections a test looks at.
#pragma once
#include <tulp/server.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/net.hpp"

namespace tulp::test {

/// A server whose protocols the test keeps.
class Serving : public NetTest {
 public:
  Server serve(std::string host = "127.0.0.1", ServerOptions options = {}) {
    auto serving = loop().create_server(
        [this] {
          protocols.push_back(std::make_shared<Recorder>());
          return protocols.back();
        },
        std::move(host), 0, options);
    return loop().run_until_complete(serving);
  }
  /// Serves, once it has one connection, `count` more.
  void wait_for(std::size_t count) {
    until([&] { return protocols.size() == count && !protocols.back()->trace.empty(); });
  }
  void end(Server server) {
    server.close();
    for (const auto& protocol : protocols)
      if (protocol->transport) protocol->transport->abort();
    settle();
  }

  std::vector<std::shared_ptr<Recorder>> protocols;
};

}  // namespace tulp::test
