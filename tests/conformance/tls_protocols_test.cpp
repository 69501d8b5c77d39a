// TLS under protocols: semantics rows 60, 95 to 99.
#include <tulp/error.hpp>
#include <tulp/server.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/transport.hpp>

#include <memory>
#include <string>

#include "support/serving.hpp"
#include "support/tls_peer.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

class TlsServing : public Serving {
 public:
  /// A client's protocol that is connected to the server.
  std::shared_ptr<Recorder> connect_to(const Server& server, ConnectOptions options = {}) {
    auto recorder = std::make_shared<Recorder>();
    if (!options.ssl) options.ssl = certificates.client();
    loop().run_until_complete(loop().create_connection([&] { return recorder; }, "127.0.0.1", server.port(), options));
    return recorder;
  }
  Certificates certificates;
};

}  // namespace

TEST_CASE_METHOD(TlsServing, "protocols hear of a connection after its handshake, and then of plain bytes") {
  Server server = serve("127.0.0.1", {.ssl = certificates.server()});
  const auto client = connect_to(server);
  CHECK(client->trace == Trace{"made"});
  wait_for(1);
  client->transport->write("hello");
  until([&] { return protocols[0]->received == "hello"; });
  const std::string big = pattern(300'000);
  protocols[0]->transport->write(big);
  until([&] { return client->received.size() == big.size(); });
  CHECK(same(client->received, big));
  client->transport->close();
  until([&] { return client->is_lost() && protocols[0]->is_lost(); });
  CHECK(client->lost_with == nullptr);
  CHECK(protocols[0]->lost_with == nullptr);
  CHECK(protocols[0]->trace == Trace{"made", "data", "eof", "lost"});
  end(server);
}

TEST_CASE_METHOD(TlsServing, "a protocol that wants to outlive its peer's end is closed all the same") {
  Server server = serve("127.0.0.1", {.ssl = certificates.server()});
  const auto client = connect_to(server);
  wait_for(1);
  protocols[0]->keeps_writing = true;
  client->transport->close();
  until([&] { return client->is_lost() && protocols[0]->is_lost(); });
  CHECK(protocols[0]->trace == Trace{"made", "eof", "lost"});
  end(server);
}

TEST_CASE_METHOD(TlsServing, "a connection that is cut off is lost with an error") {
  Server server = serve("127.0.0.1", {.ssl = certificates.server()});
  const auto client = connect_to(server);
  wait_for(1);
  const int socket = *client->transport->get_extra_info<int>("socket");
  ::shutdown(socket, SHUT_WR);
  until([&] { return protocols[0]->is_lost(); });
  CHECK_THROWS_AS(std::rethrow_exception(protocols[0]->lost_with), SslError);
  CHECK(protocols[0]->trace == Trace{"made", "lost"});
  client->transport->abort();
  until([&] { return client->is_lost(); });
  end(server);
}

TEST_CASE_METHOD(TlsServing, "pausing holds data back, also those that have been decrypted") {
  Server server = serve("127.0.0.1", {.ssl = certificates.server()});
  const auto client = connect_to(server);
  wait_for(1);
  protocols[0]->transport->pause_reading();
  client->transport->write("hello");
  settle();
  CHECK(protocols[0]->received.empty());
  protocols[0]->transport->resume_reading();
  until([&] { return protocols[0]->received == "hello"; });
  client->transport->close();
  until([&] { return client->is_lost() && protocols[0]->is_lost(); });
  end(server);
}

TEST_CASE_METHOD(TlsServing, "a sender that is faster than its peer is paused, and goes on, and loses nothing") {
  Server server = serve("127.0.0.1", {.ssl = certificates.server()});
  const auto client = connect_to(server);
  wait_for(1);
  protocols[0]->transport->pause_reading();
  const std::string big = pattern(8'000'000);
  client->transport->write(big);
  CHECK(client->trace.back() == "pause");
  CHECK(client->transport->get_write_buffer_size() > 1'000'000);
  client->transport->close();
  settle();
  CHECK_FALSE(client->is_lost());
  protocols[0]->transport->resume_reading();
  until([&] { return client->is_lost() && protocols[0]->is_lost(); });
  CHECK(same(protocols[0]->received, big));
  CHECK(client->lost_with == nullptr);
  end(server);
}

TEST_CASE_METHOD(TlsServing, "a failed handshake makes no protocol at the server, and fails the Future at the client") {
  Server server = serve("127.0.0.1", {.ssl = certificates.server({.dns_names = {"other"}})});
  CHECK_THROWS_AS(connect_to(server), SslCertificateError);
  until([&] { return report_count() == 1; });
  take_reports();
  CHECK(protocols.empty());
  end(server);
}

TEST_CASE_METHOD(TlsServing, "an accepted socket takes the server's part") {
  const PlainListener listener;
  Peer plain = Peer::connect(listener.port());
  auto recorder = std::make_shared<Recorder>();
  auto accepting = loop().connect_accepted_socket([&] { return recorder; }, listener.accept().release(),
                                                  {.ssl = certificates.server()});
  TlsPeer peer(std::move(plain), certificates.client(), target("localhost"));
  until([&] {
    peer.go_on();
    return accepting.done();
  });
  static_cast<void>(accepting.result());
  peer.write("hello");
  until([&] { return recorder->received == "hello"; });
  recorder->transport->abort();
  until([&] { return recorder->is_lost(); });
}
