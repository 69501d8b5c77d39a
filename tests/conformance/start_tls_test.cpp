// start_tls: modern row 19, group X26.
#include <tulp/error.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "support/serving.hpp"
#include "support/tls_peer.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Answers STARTTLS, goes on with TLS, and echoes lines.
void upgrade_and_echo(StreamReader& reader, StreamWriter& writer, const SslContext& context) {
  CHECK(reader.readline() == "STARTTLS\n");
  writer.write("go ahead\n");
  writer.start_tls(context);
  for (std::string& line : reader.lines()) writer.write(line);
}

}  // namespace

TEST_CASE_METHOD(TlsTest, "streams go on with TLS, in both roles") {
  run([&] {
    const SslContext context = certificates.server();
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) { upgrade_and_echo(reader, writer, context); }, "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    CHECK_FALSE(writer.get_extra_info("version").has_value());
    writer.write("STARTTLS\n");
    CHECK(reader.readline() == "go ahead\n");
    writer.start_tls(certificates.client(), {.server_hostname = "localhost"});
    CHECK(writer.get_extra_info<std::string>("version") == "TLSv1.3");
    writer.write("secret\n");
    CHECK(reader.readline() == "secret\n");
    writer.close();
    writer.wait_closed();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "a handshake that came with the last plain line is taken up") {
  run([&] {
    const SslContext context = certificates.server();
    Server server = start_server(
        [&](StreamReader reader, StreamWriter writer) { upgrade_and_echo(reader, writer, context); }, "127.0.0.1", 0);
    TlsPeer peer(Peer::connect(server.port()), certificates.client(), target("localhost"));
    peer.end.go_on();  // the beginning of its handshake
    peer.socket.send("STARTTLS\n" + std::exchange(peer.end.engine.output(), {}));
    while (peer.socket.collect().size() < 9) sleep(0s);
    CHECK(peer.socket.received.substr(0, 9) == "go ahead\n");
    peer.socket.received.erase(0, 9);
    peer.shake_hands();
    peer.write("secret\n");
    peer.until([&] { return peer.end.received == "secret\n"; });
    peer.write_end();
    peer.until([&] { return peer.end.engine.state() == SslEngine::State::ended; });
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "what was put in plain before a handshake is not taken for a part of what comes after it") {
  run([&] {
    const SslContext context = certificates.server();
    auto handler = [&](StreamReader reader, StreamWriter writer) {
      CHECK(reader.readline() == "STARTTLS\n");
      CHECK_THROWS_AS(writer.start_tls(context), SslError);
      CHECK_THROWS_AS(reader.read(), SslError);
    };
    Server server = start_server(handler, "127.0.0.1", 0);
    Peer attacker = Peer::connect(server.port());
    attacker.send("STARTTLS\nDELETE EVERYTHING\n");
    while (!attacker.is_over()) sleep(0s);

    auto [reader, writer, peer] = open_stream();
    peer.send("go ahead\nyou are welcome\n");
    CHECK(reader.readline() == "go ahead\n");
    const std::string reason = message_of(
        [&, &writer = writer] { writer.start_tls(certificates.client(), {.server_hostname = "localhost"}); });
    CHECK(reason.find("16 bytes came in plain") != std::string::npos);
    CHECK_THROWS_AS(writer.write("x"), SslError);
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "start_tls wants a name, a client's connection that stands, and no reader at work") {
  run([&] {
    auto [reader, writer, peer] = open_stream();
    const SslContext client = certificates.client();
    CHECK_THROWS_AS(writer.start_tls(client), std::invalid_argument);
    CHECK_THROWS_AS(writer.start_tls(client, {.server_hostname = ""}), std::invalid_argument);
    CHECK_THROWS_AS(writer.start_tls(certificates.server(), {.server_hostname = "a"}), std::invalid_argument);
    auto reading = create_task([&reader = reader] { return reader.readline(); });
    sleep(0s);
    CHECK_THROWS_AS(writer.start_tls(client, {.server_hostname = "localhost"}), InvalidStateError);
    peer.send("still in plain\n");
    CHECK(await(reading) == "still in plain\n");
    writer.close();
    CHECK_THROWS_AS(writer.start_tls(client, {.server_hostname = "localhost"}), InvalidStateError);
  });
}

TEST_CASE_METHOD(TlsTest, "during start_tls nothing can be written, and a cancellation aborts the connection") {
  run([&] {
    auto [reader, writer, peer] = open_stream();
    auto starting = create_task(
        [&, &writer = writer] { writer.start_tls(certificates.client(), {.server_hostname = "localhost"}); });
    while (peer.collect().empty()) sleep(0s);
    CHECK_THROWS_AS(writer.write_nowait("in plain"), InvalidStateError);
    starting.cancel();
    CHECK_THROWS_AS(await(starting), FutureCancelledError);
    while (!peer.is_over()) sleep(0s);
    CHECK_THROWS_AS(writer.write("x"), OsError);
  });
}

TEST_CASE_METHOD(TlsTest, "a connection that is closed or broken during start_tls ends it") {
  run([&] {
    for (const bool is_closed_here : {false, true}) {
      auto [reader, writer, peer] = open_stream();
      auto starting = create_task(
          [&, &writer = writer] { writer.start_tls(certificates.client(), {.server_hostname = "localhost"}); });
      while (peer.collect().empty()) sleep(0s);
      if (is_closed_here)
        writer.close();
      else
        peer.close();
      CHECK_THROWS_AS(await(starting), OsError);
    }
  });
}

TEST_CASE_METHOD(TlsTest, "TLS runs over TLS") {
  run([&] {
    const SslContext context = certificates.server();
    Server server =
        start_server([&](StreamReader reader, StreamWriter writer) { upgrade_and_echo(reader, writer, context); },
                     "127.0.0.1", 0, {.ssl = context});
    const SslContext client = certificates.client();
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = client});
    writer.write("STARTTLS\n");
    CHECK(reader.readline() == "go ahead\n");
    writer.start_tls(client, {.server_hostname = "localhost"});
    const std::string line = std::string(50'000, 'x') + '\n';
    for (int i = 0; i < 3; ++i) {
      writer.write(line);
      CHECK(same(reader.readline({.limit_bytes = 100'000}), line));
    }
    writer.close();
    writer.wait_closed();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(Serving, "transports go on with TLS, and their protocols hear of plain bytes only") {
  Certificates certificates;
  const SslContext context = certificates.server();
  Server server = serve();
  auto client = std::make_shared<Recorder>();
  loop().run_until_complete(loop().create_connection([&] { return client; }, "127.0.0.1", server.port()));
  wait_for(1);
  const auto at_server = protocols[0];
  std::optional<Future<std::shared_ptr<Transport>>> answering;
  at_server->on_data = [&](std::string_view) {
    if (at_server->received != "STARTTLS\n") return;
    at_server->transport->write("go ahead\n");
    answering = loop().start_tls(at_server->transport, at_server, context);
    CHECK_THROWS_AS(at_server->transport->write("x"), InvalidStateError);
  };
  client->transport->write("STARTTLS\n");
  until([&] { return client->received == "go ahead\n"; });
  const auto secured = std::make_shared<Recorder>();
  auto starting = loop().start_tls(client->transport, secured, certificates.client(), {.server_hostname = "localhost"});
  const auto transport = loop().run_until_complete(starting);
  CHECK(transport == client->transport);
  CHECK(transport->get_extra_info<std::string>("version") == "TLSv1.3");
  transport->write("secret");
  until([&] { return at_server->received == "STARTTLS\nsecret"; });
  at_server->transport->write("answer");
  until([&] { return secured->received == "answer"; });
  CHECK(client->received == "go ahead\n");
  transport->close();
  until([&] { return secured->is_lost() && at_server->is_lost(); });
  CHECK(secured->lost_with == nullptr);
  client->transport = nullptr;
  end(server);
}

TEST_CASE_METHOD(NetTest,
                 "start_tls of a transport that cannot do that is refused, and a failed one loses the connection") {
  Certificates certificates;
  auto recorder = std::make_shared<Recorder>();
  Peer peer = connect(recorder);
  CHECK_THROWS_AS(loop().start_tls(nullptr, recorder, certificates.server()), std::invalid_argument);
  CHECK_THROWS_AS(loop().start_tls(recorder->transport, nullptr, certificates.server()), std::invalid_argument);
  CHECK_THROWS_AS(loop().start_tls(recorder->transport, recorder, certificates.client()), std::invalid_argument);
  auto starting = loop().start_tls(recorder->transport, recorder, certificates.server());
  CHECK_THROWS_AS(loop().start_tls(recorder->transport, recorder, certificates.server()), InvalidStateError);
  peer.send("this is no TLS");
  CHECK_THROWS_AS(loop().run_until_complete(starting), SslError);
  until([&] { return recorder->is_lost(); });
  CHECK_THROWS_AS(std::rethrow_exception(recorder->lost_with), SslError);
  CHECK(recorder->trace == Trace{"made", "lost"});
}
