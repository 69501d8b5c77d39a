// What peers may do to TLS: group X of the reliability catalogue.
#include <tulp/error.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/testing/run.hpp>

#include <memory>
#include <string>

#include "support/tls_peer.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// A client's stream whose peer is moved by hand.
struct Opened {
  StreamReader reader;
  StreamWriter writer;
  std::unique_ptr<TlsPeer> peer;
};
Opened open(const Certificates& certificates, const SslContext& server, int receive_buffer_bytes = 0) {
  const PlainListener listener(receive_buffer_bytes);
  auto opening =
      create_task([&] { return open_connection("127.0.0.1", listener.port(), {.ssl = certificates.client()}); });
  auto peer = std::make_unique<TlsPeer>(listener.accept_from_loop(), server);
  peer->shake_hands();
  while (!opening.done()) sleep(0s);
  Streams streams = opening.result();
  return {std::move(streams.reader), std::move(streams.writer), std::move(peer)};
}

/// The reason that a handshake between the two fails for, at the client.
std::string refusal(const SslContext& client, const SslContext& server) {
  EnginePair pair(client, server);
  pair.exchange();
  return pair.client.is_open() ? "accepted" : pair.client.error();
}

/// A server that would be used years ago.
SslContext old(const SslContext& context, int version, const char* ciphers) {
  SSL_CTX* ctx = context.state()->config()->ctx.get();
  SSL_CTX_set_security_level(ctx, 0);
  SSL_CTX_set_min_proto_version(ctx, version);
  SSL_CTX_set_max_proto_version(ctx, version);
  SSL_CTX_set_cipher_list(ctx, ciphers);
  return context;
}

}  // namespace

TEST_CASE("old versions and weak ciphers are refused in both roles") {
  Certificates all;
  CHECK(refusal(all.client(), old(all.server(), TLS1_VERSION, "ALL:@SECLEVEL=0")).find("protocol version") !=
        std::string::npos);
  CHECK(refusal(all.client(), old(all.server(), TLS1_1_VERSION, "ALL:@SECLEVEL=0")).find("protocol version") !=
        std::string::npos);
  CHECK(refusal(old(all.client(), TLS1_1_VERSION, "ALL:@SECLEVEL=0"), all.server()).find("protocol version") !=
        std::string::npos);
  for (const char* weak : {"AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "eNULL", "aNULL"}) {
    const std::string ciphers = std::string(weak) + ":@SECLEVEL=0";
    CHECK(refusal(all.client(), old(all.server(), TLS1_2_VERSION, ciphers.c_str())).find("handshake failure") !=
          std::string::npos);
    CHECK(refusal(old(all.client(), TLS1_2_VERSION, ciphers.c_str()), all.server()).find("handshake failure") !=
          std::string::npos);
  }
}

TEST_CASE("weak keys and signatures of a peer are refused") {
  Certificates all;
  const auto weak = [&](Claims claims) {  // which a server of ours would not load
    claims.dns_names = {"localhost"};
    const auto files = all.issue(claims);
    const SslContext server =  // a key of another kind would stand beside the first one
        all.server(Claims{.dns_names = {"localhost"}, .rsa_bits = claims.rsa_bits > 0 ? 2048 : 0});
    SSL_CTX* ctx = server.state()->config()->ctx.get();
    SSL_CTX_set_security_level(ctx, 0);
    REQUIRE(SSL_CTX_use_certificate_chain_file(ctx, files.chain_file.c_str()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(ctx, files.key_file.c_str(), SSL_FILETYPE_PEM) == 1);
    return server;
  };
  CHECK(refusal(all.client(), weak({.rsa_bits = 2048})) == "accepted");
  CHECK(refusal(all.client(), weak({.rsa_bits = 1024})).find("EE certificate key too weak") != std::string::npos);
  CHECK(refusal(all.client(), weak({.digest = "SHA1"})).find("CA signature digest algorithm too weak") !=
        std::string::npos);
  CHECK(refusal(all.client(), weak({.valid_from_days = -30, .valid_to_days = -1}))
            .ends_with("certificate verify failed: certificate has expired"));
  CHECK(refusal(all.client(), weak({.valid_from_days = 1}))
            .ends_with("certificate verify failed: certificate is not yet valid"));
  CHECK(refusal(all.client(), weak({.padding_bytes = 200'000})).find("excessive message size") != std::string::npos);
}

TEST_CASE_METHOD(TlsTest, "records of one byte, cut anywhere, are read as what they are") {
  run([&] {
    auto [reader, writer, peer] = open(certificates, certificates.server());
    const std::string sent = pattern(300);
    for (const char byte : sent) peer->end.engine.write({&byte, 1});
    const std::string bytes = std::exchange(peer->end.engine.output(), {});
    auto reading = create_task([&, &reader = reader] { return reader.readexactly(sent.size()); });
    for (std::size_t at = 0; at < bytes.size(); at += 7) {
      peer->socket.send(bytes.substr(at, 7));
      sleep(0s);
    }
    CHECK(await(reading) == sent);
    writer.transport().abort();
  });
}

TEST_CASE_METHOD(TlsTest, "a read takes what it asks for, and the rest of a record waits for the next one") {
  run([&] {
    auto [reader, writer, peer] = open(certificates, certificates.server());
    peer->write("abc");
    peer->write(std::string(40'000, 'x'));
    char byte = 0;
    CHECK(reader.read_into({&byte, 1}) == 1);
    CHECK(byte == 'a');
    CHECK(reader.readexactly(2) == "bc");
    CHECK(reader.readexactly(40'000) == std::string(40'000, 'x'));
    writer.transport().abort();
  });
}

TEST_CASE_METHOD(TlsTest, "keys may change on the way, as often as the peer likes") {
  run([&] {
    auto [reader, writer, peer] = open(certificates, certificates.server());
    for (int i = 0; i < 100; ++i) {
      REQUIRE(SSL_key_update(&peer->end.engine.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
      peer->write("x");
      if (i % 10 == 0) writer.write("y");
    }
    CHECK(reader.readexactly(100) == std::string(100, 'x'));
    writer.write("z");
    peer->until([&peer = peer] { return peer->end.received.ends_with('z'); });
    CHECK(peer->end.received == "yyyyyyyyyyz");
    writer.transport().abort();
  });
}

TEST_CASE_METHOD(TlsTest, "a client cannot renegotiate") {
  run([&] {
    Server server = start_server([](StreamReader reader, StreamWriter) { reader.read(); }, "127.0.0.1", 0,
                                 {.ssl = certificates.server()});
    TlsPeer peer(Peer::connect(server.port()), only_tls_1_2(certificates.client()), target("localhost"));
    peer.shake_hands();
    SSL& ssl = peer.end.engine.ssl();
    SSL_clear_options(&ssl, SSL_OP_NO_RENEGOTIATION);  // an attacker has no such scruples
    REQUIRE(SSL_renegotiate(&ssl) == 1);
    SSL_do_handshake(&ssl);
    peer.flush();
    peer.until([&] { return peer.end.has_failed(); });
    CHECK(peer.end.error().find("no renegotiation") != std::string::npos);
    peer.socket.close();
    while (report_count() == 0) sleep(0s);  // the handler has met a truncation
    take_reports();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "a writer that waits for a peer can be cancelled, and the connection is given up") {
  run([&] {
    auto [reader, writer, peer] = open(certificates, certificates.server(), 4096);
    const std::string big(8'000'000, 'x');
    auto writing = create_task([&, &writer = writer] { writer.write(big); });
    while (writer.transport().get_write_buffer_size() == 0 && !writing.done()) sleep(0s);
    writing.cancel();
    CHECK_THROWS_AS(await(writing), FutureCancelledError);
    CHECK_THROWS_AS(writer.write("more"), OsError);
    writer.close();
    writer.wait_closed(*std::make_unique<std::error_code>());
    while (!peer->socket.is_over()) sleep(0s);
  });
}

TEST_CASE_METHOD(TlsTest, "a reader can be cancelled and read on") {
  run([&] {
    auto [reader, writer, peer] = open(certificates, certificates.server());
    auto reading = create_task([&reader = reader] { return reader.readexactly(6); });
    peer->write("abc");
    for (int i = 0; i < 10; ++i) sleep(0s);
    reading.cancel();
    CHECK_THROWS_AS(await(reading), FutureCancelledError);
    peer->write("def");
    CHECK(reader.readexactly(6) == "abcdef");
    writer.transport().abort();
  });
}

TEST_CASE_METHOD(TlsTest, "a shutdown that waits for the peer can be cut short") {
  run([&] {
    auto [reader, writer, peer] = open(certificates, certificates.server());
    writer.close();
    auto closing = create_task([&writer = writer] { writer.wait_closed(); });
    peer->until([&peer = peer] { return peer->end.has_ended; });
    writer.transport().abort();
    await(closing);
    while (!peer->socket.is_over()) sleep(0s);
  });
}

TEST_CASE_METHOD(TlsTest, "a reset in the middle of a handshake or after it is an error of the connection") {
  run([&] {
    const PlainListener listener;
    auto opening =
        create_task([&] { return open_connection("127.0.0.1", listener.port(), {.ssl = certificates.client()}); });
    Peer peer = listener.accept_from_loop();
    while (peer.collect().empty()) sleep(0s);
    peer.reset();
    CHECK_THROWS_AS(await(opening), ConnectionResetError);
    auto opened = open(certificates, certificates.server());
    opened.peer->socket.reset();
    CHECK_THROWS_AS(opened.reader.read(), ConnectionResetError);
  });
}

TEST_CASE_METHOD(TlsTest, "reader and writer work at the same time") {
  run([&] {
    auto echo = [](StreamReader reader, StreamWriter writer) {
      for (std::string data = reader.read(64 * 1024); !data.empty(); data = reader.read(64 * 1024)) writer.write(data);
    };
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = certificates.client()});
    const std::string sent = pattern(3'000'000);
    auto writing = create_task([&, &writer = writer] {
      for (std::size_t at = 0, size = 1; at < sent.size(); at += size, size = size * 2 % 100'003 + 1)
        writer.write(std::string_view(sent).substr(at, size));
    });
    CHECK(same(reader.readexactly(sent.size()), sent));
    await(writing);
    writer.close();
    writer.wait_closed();
    server.close();
    server.wait_closed();
  });
}
