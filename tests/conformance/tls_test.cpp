// TLS over streams: semantics rows 95 to 100.
#include <tulp/certificate.hpp>
#include <tulp/error.hpp>
#include <tulp/run.hpp>
#include <tulp/serve.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/testing/run.hpp>
#include <tulp/wait.hpp>

#include <unistd.h>

#include <optional>
#include <set>
#include <stdexcept>
#include <string>

#include "support/tls_peer.hpp"
#include "support/unix_sockets.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Both ends of a TLS connection: a stream of tulp's, which is the client, and an engine on a plain socket.
struct StreamAndTlsPeer {
  StreamReader reader;
  StreamWriter writer;
  std::unique_ptr<TlsPeer> peer;
};
StreamAndTlsPeer open_tls_stream(const SslContext& client, const SslContext& server, ConnectOptions options = {}) {
  const PlainListener listener;
  options.ssl = client;
  auto opening = create_task([&] { return open_connection("127.0.0.1", listener.port(), options); });
  auto peer = std::make_unique<TlsPeer>(listener.accept_from_loop(), server);
  peer->shake_hands();
  while (!opening.done()) sleep(0s);
  Streams streams = opening.result();
  return {std::move(streams.reader), std::move(streams.writer), std::move(peer)};
}

}  // namespace

TEST_CASE_METHOD(TlsTest, "streams carry bytes over TLS, both ways, whatever their size") {
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = certificates.client()});
    for (const std::size_t size : {1, 100, 16 * 1024, 16 * 1024 + 1, 200'000}) {
      const std::string sent = pattern(size);
      auto writing = create_task([&, &writer = writer] { writer.write(sent); });
      CHECK(same(reader.readexactly(size), sent));
      await(writing);
    }
    writer.writelines(std::vector<std::string_view>{"a", "", "bc", "d\n"});
    CHECK(reader.readline() == "abcd\n");
    writer.close();
    writer.wait_closed();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "what the handshake has settled can be asked for at both ends") {
  run([&] {
    std::optional<std::string> alpn_at_server;
    const SslContext server_context = certificates.server({.alpn = {"h2"}});
    auto handler = [&](StreamReader reader, StreamWriter writer) {
      alpn_at_server = writer.get_extra_info<std::string>("alpn");
      CHECK(writer.get_extra_info<SslContext>("sslcontext") == server_context);
      CHECK_FALSE(writer.get_extra_info("peercert").has_value());
      reader.read();
    };
    Server server = start_server(handler, "127.0.0.1", 0, {.ssl = server_context});
    const SslContext client = certificates.client({.alpn = {"h2", "http/1.1"}});
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = client});
    CHECK(writer.get_extra_info<std::string>("alpn") == "h2");
    CHECK(writer.get_extra_info<std::string>("version") == "TLSv1.3");
    CHECK(writer.get_extra_info<std::string>("cipher")->starts_with("TLS_"));
    CHECK(writer.get_extra_info<Certificate>("peercert")->subject == "CN=localhost");
    CHECK(writer.get_extra_info<SslContext>("sslcontext") == client);
    CHECK(writer.get_extra_info<bool>("session_reused") == false);
    CHECK_FALSE(writer.get_extra_info("compression").has_value());
    CHECK(writer.get_extra_info<Address>("peername")->port() == server.port());
    writer.close();
    server.close();
    server.wait_closed();
    CHECK(alpn_at_server == "h2");
  });
}

TEST_CASE_METHOD(TlsTest, "TLS runs over Unix sockets, which have to be told whom they speak to") {
  const Folder folder;
  run([&] {
    const std::string path = folder / "socket";
    Server server = start_unix_server(echo, path, {.ssl = certificates.server()});
    CHECK_THROWS_AS(open_unix_connection(path, {.ssl = certificates.client()}), std::invalid_argument);
    auto [reader, writer] = open_unix_connection(path, {.ssl = certificates.client(), .server_hostname = "localhost"});
    writer.write("over a path\n");
    CHECK(reader.readline() == "over a path\n");
    writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "options of TLS that make no sense are refused, at once and for every kind of connection") {
  run([&] {
    const SslContext client = certificates.client(), server = certificates.server();
    const auto connect = [](ConnectOptions options) { open_connection("127.0.0.1", 1, std::move(options)); };
    CHECK_THROWS_AS(connect({.ssl = server}), std::invalid_argument);
    CHECK_THROWS_AS(connect({.server_hostname = "a"}), std::invalid_argument);
    CHECK_THROWS_AS(connect({.ssl = client, .server_hostname = ""}), std::invalid_argument);
    CHECK_THROWS_AS(connect({.ssl = client, .ssl_handshake_timeout = 0s}), std::invalid_argument);
    CHECK_THROWS_AS(start_server(echo, "127.0.0.1", 0, {.ssl = client}), std::invalid_argument);
    CHECK_THROWS_AS(start_server(echo, "127.0.0.1", 0, {.ssl = server, .ssl_handshake_timeout = -1s}),
                    std::invalid_argument);
    CHECK_THROWS_AS(start_unix_server(echo, "/nowhere", {.ssl = client}), std::invalid_argument);
    const PlainListener listener;
    Peer socket = Peer::connect(listener.port());
    CHECK_THROWS_AS(open_connection(ConnectOptions{.sock = socket.fd(), .ssl = client}), std::invalid_argument);
    CHECK(::fcntl(socket.fd(), F_GETFD) >= 0);  // and is still the caller's
    const auto factory = [] { return std::make_shared<Recorder>(); };
    CHECK_THROWS_AS(loop().create_connection(factory, "127.0.0.1", 1, {.ssl = server}), std::invalid_argument);
    CHECK_THROWS_AS(loop().create_server(factory, "127.0.0.1", 0, {.ssl = client}), std::invalid_argument);
    CHECK_THROWS_AS(loop().connect_accepted_socket(factory, socket.fd(), {.ssl = client}), std::invalid_argument);
  });
}

TEST_CASE_METHOD(TlsTest, "a certificate that is not accepted is an error with the reason, and the server serves on") {
  run([&] {
    Server server =
        start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server({.dns_names = {"a.example", "b.example"}})});
    try {
      open_connection("127.0.0.1", server.port(), {.ssl = certificates.client(), .server_hostname = "c.example"});
      FAIL("the wrong host was accepted");
    } catch (const SslCertificateError& error) {
      CHECK(error.verify_result() == 62);
      CHECK(std::string(error.what()) == "TLS handshake with " + server.addresses()[0].to_string() +
                                             ": certificate verify failed: hostname mismatch: it is for a.example, "
                                             "b.example, not for c.example");
    }
    while (report_count() == 0) sleep(0s);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.starts_with("TLS handshake with 127.0.0.1:"));
    CHECK(reports[0].message.find("the peer refuses") != std::string::npos);
    auto [reader, writer] =
        open_connection("127.0.0.1", server.port(), {.ssl = certificates.client(), .server_hostname = "a.example"});
    writer.write("still here\n");
    CHECK(reader.readline() == "still here\n");
    writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "whoever does not speak TLS to a TLS port ends that connection alone, with one line") {
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    Peer http = Peer::connect(server.port());
    http.send("GET / HTTP/1.1\r\n\r\n");
    while (!http.is_over()) sleep(0s);
    auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.find("the peer speaks plain HTTP") != std::string::npos);
    Peer noise = Peer::connect(server.port());
    noise.send(pattern(1000));
    while (!noise.is_over()) sleep(0s);
    reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.find("the peer does not speak TLS") != std::string::npos);
    { Peer silent = Peer::connect(server.port()); }
    { Peer::connect(server.port()).reset(); }
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = certificates.client()});
    writer.write("still here\n");
    CHECK(reader.readline() == "still here\n");
    writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "a peer that ends in the handshake resets the connection") {
  run([&] {
    const PlainListener listener;
    auto opening =
        create_task([&] { return open_connection("127.0.0.1", listener.port(), {.ssl = certificates.client()}); });
    Peer peer = listener.accept_from_loop();
    while (peer.collect().empty()) sleep(0s);
    peer.close();
    CHECK_THROWS_AS(await(opening), ConnectionResetError);
  });
}

TEST_CASE("a handshake that takes too long is given up, and keeps nobody else waiting") {
  Certificates certificates;
  testing::run([&] {
    const PlainListener listener;
    try {
      open_connection("127.0.0.1", listener.port(), {.ssl = certificates.client()});
      FAIL("it was not given up");
    } catch (const ConnectionAbortedError& error) {
      CHECK(std::string(error.what()).starts_with("TLS handshake with 127.0.0.1:"));
    }
    std::vector<std::string> reports;
    get_event_loop().set_exception_handler(
        [&](EventLoop&, const ExceptionContext& context) { reports.push_back(context.message); });
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    Peer slow = Peer::connect(server.port());
    slow.send("\x16\x03\x01");
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = certificates.client()});
    writer.write("not slow\n");
    CHECK(reader.readline() == "not slow\n");
    CHECK(reports.empty());
    sleep(61s);
    CHECK(reports.size() == 1);
    CHECK(slow.is_over());
    writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "data come before the peer's word that it ends, and that is a clean end") {
  run([&] {
    auto [reader, writer, peer] = open_tls_stream(certificates.client(), certificates.server());
    peer->write("last words");
    peer->write_end();
    CHECK(reader.read() == "last words");
    CHECK(reader.at_eof());
    writer.write("I still speak");
    peer->until([&peer = peer] { return peer->end.received == "I still speak"; });
    writer.close();
    writer.wait_closed();
    peer->until([&peer = peer] { return peer->end.engine.state() == SslEngine::State::ended; });
  });
}

TEST_CASE_METHOD(TlsTest, "an end without that word is a truncation, after what came before it") {
  run([&] {
    auto [reader, writer, peer] = open_tls_stream(certificates.client(), certificates.server());
    peer->write("half of");
    peer->socket.half_close();
    CHECK(reader.readexactly(7) == "half of");
    try {
      reader.read();
      FAIL("truncation was taken for an end");
    } catch (const SslError& error) {
      CHECK(std::string(error.what()).find("truncated") != std::string::npos);
    }
    CHECK_THROWS_AS(writer.write("more"), SslError);
  });
}

TEST_CASE_METHOD(TlsTest, "whoever accepts truncation takes it for the end") {
  run([&] {
    auto [reader, writer, peer] =
        open_tls_stream(certificates.client({.danger_accept_truncation = true}), certificates.server());
    peer->write("half of");
    peer->socket.close();
    CHECK(reader.read() == "half of");
    CHECK(reader.at_eof());
  });
}

TEST_CASE_METHOD(TlsTest, "close sends what was written, says that it ends, and waits for the peer to say so too") {
  run([&] {
    auto [reader, writer, peer] = open_tls_stream(certificates.client(), certificates.server());
    writer.write("to be flushed");
    writer.close();
    auto closing = create_task([&writer = writer] { writer.wait_closed(); });
    peer->until([&peer = peer] { return peer->end.has_ended; });
    CHECK(peer->end.received == "to be flushed");
    for (int i = 0; i < 20; ++i) sleep(0s);
    CHECK_FALSE(closing.done());
    peer->write("too late, and thrown away");
    peer->write_end();
    await(closing);
    peer->until([&peer = peer] { return peer->socket.is_over(); });
    CHECK(peer->socket.error == 0);
  });
}

TEST_CASE("close does not wait for ever for a peer that does not say that it ends") {
  Certificates certificates;
  testing::run([&] {
    auto [reader, writer, peer] = open_tls_stream(certificates.client(), certificates.server());
    const TimePoint begin = get_event_loop().time();
    writer.close();
    writer.wait_closed();
    CHECK(get_event_loop().time() - begin >= 30s);
    auto other = open_tls_stream(certificates.client(), certificates.server(), {.ssl_shutdown_timeout = 2s});
    const TimePoint second = get_event_loop().time();
    other.writer.close();
    other.writer.wait_closed();
    CHECK(get_event_loop().time() - second < 3s);
  });
}

TEST_CASE_METHOD(TlsTest, "the end of a loop does not wait for peers to say that they end") {
  std::unique_ptr<TlsPeer> silent;
  run([&] {
    auto [reader, writer, peer] = open_tls_stream(certificates.client(), certificates.server());
    auto kept =
        create_task([peer = std::make_shared<TlsPeer>(std::move(peer->socket), certificates.server())] { sleep(1h); });
    kept.cancel();
    writer.close();
  });
  const auto begin = std::chrono::steady_clock::now();
  loop().close();
  CHECK(std::chrono::steady_clock::now() - begin < 2s);
  silent = nullptr;
}

TEST_CASE_METHOD(TlsTest, "TLS cannot be half-closed, and says so") {
  run([&] {
    auto [reader, writer, peer] = open_tls_stream(certificates.client(), certificates.server());
    CHECK_FALSE(writer.can_write_eof());
    CHECK_THROWS_AS(writer.write_eof(), InvalidStateError);
    writer.write("goes on");
    peer->until([&peer = peer] { return peer->end.received == "goes on"; });
    writer.transport().abort();
  });
}

TEST_CASE_METHOD(TlsTest, "write_close_notify() ends writing behind all that was written, and reading goes on") {
  run([&] {
    const auto answer_at_end = [](StreamReader reader, StreamWriter writer) {
      const std::string all = reader.read();
      writer.write(std::to_string(all.size()) + " bytes");
    };
    Server server = start_server(answer_at_end, "127.0.0.1", 0, {.ssl = certificates.server()});
    auto [reader, writer] =
        open_connection("127.0.0.1", server.port(), {.ssl = certificates.client(), .server_hostname = "localhost"});
    writer.write(std::string(3'000'000, 'x'));
    writer.write_close_notify();
    writer.write_close_notify();
    CHECK_THROWS_AS(writer.write("more"), InvalidStateError);
    CHECK(reader.read() == "3000000 bytes");
    writer.close();
    writer.wait_closed();
    server.close();
  });
}

TEST_CASE_METHOD(TlsTest, "write_close_notify() is for TLS alone") {
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0);
    auto [reader, writer] = open_connection("127.0.0.1", server.port());
    CHECK_THROWS_AS(writer.write_close_notify(), InvalidStateError);
    writer.close();
    server.close();
  });
}

TEST_CASE_METHOD(TlsTest, "a client whose certificate a TLS 1.3 server wants hears that, and not a bare end") {
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0,
                                 {.ssl = certificates.server({.client_certificate = ClientCertificate::required,
                                                              .client_ca_file = certificates.ca_file()})});
    auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = certificates.client()});
    writer.write("hello");
    const std::string reason = message_of([&reader = reader] { reader.read(); });
    CHECK(reason.find("certificate required") != std::string::npos);
    const auto reports = take_reports();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].message.find("peer did not return a certificate") != std::string::npos);
    const auto files = certificates.issue({.common_name = "me"});
    const SslContext known =
        certificates.client({.certificate_chain_file = files.chain_file, .private_key_file = files.key_file});
    auto [known_reader, known_writer] = open_connection("127.0.0.1", server.port(), {.ssl = known});
    known_writer.write("hello\n");
    CHECK(known_reader.readline() == "hello\n");
    known_writer.close();
    server.close();
    server.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "a second connection resumes the session of the first") {
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    const SslContext client = GENERATE(false, true) ? only_tls_1_2(certificates.client()) : certificates.client();
    for (const bool is_reused : {false, true, true, true}) {
      auto [reader, writer] = open_connection("127.0.0.1", server.port(), {.ssl = client});
      writer.write("x\n");
      CHECK(reader.readline() == "x\n");
      CHECK(writer.get_extra_info<bool>("session_reused") == is_reused);
      CHECK(writer.get_extra_info<Certificate>("peercert")->subject == "CN=localhost");
    }
    server.close();
    server.wait_closed();
  });
}

TEST_CASE("the loops of a server share its context: one resumes what another has begun") {
  Certificates certificates;
  tulp::run([&] {
    const auto say_thread = [](StreamReader reader, StreamWriter writer) {
      reader.readline();
      writer.write(std::to_string(::gettid()));
    };
    Workers workers =
        start_workers(say_thread, "127.0.0.1", 0, {.workers = 3, .server = {.ssl = certificates.server()}});
    const SslContext client = certificates.client();
    std::set<std::string> threads;
    for (int i = 0; i < 200 && threads.size() < 2; ++i) {  // which of the loops gets it is the kernel's choice
      auto [reader, writer] = open_connection("127.0.0.1", workers.port(), {.ssl = client});
      writer.write("who?\n");
      threads.insert(reader.read());
      CHECK(writer.get_extra_info<bool>("session_reused") == (i > 0));
    }
    CHECK(threads.size() == 2);
    workers.stop();
    workers.wait_closed();
  });
}

TEST_CASE_METHOD(TlsTest, "closing a server's clients ends handshakes too, and shutdown counts them") {
  run([&] {
    Server server = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    Peer first = Peer::connect(server.port());
    first.send("\x16");
    while (all_tasks().size() < 2) sleep(0s);  // the handshake's
    server.close_clients();
    while (!first.is_over()) sleep(0s);
    Peer second = Peer::connect(server.port());
    while (all_tasks().size() < 2) sleep(0s);
    CHECK(server.shutdown(10ms) == 1);
    CHECK(second.is_over());
  });
}

TEST_CASE_METHOD(TlsTest, "a cancelled handshake leaves nothing behind") {
  run([&] {
    const PlainListener listener;
    auto opening =
        create_task([&] { return open_connection("127.0.0.1", listener.port(), {.ssl = certificates.client()}); });
    Peer peer = listener.accept_from_loop();
    while (peer.collect().empty()) sleep(0s);
    opening.cancel();
    CHECK_THROWS_AS(await(opening), FutureCancelledError);
    while (!peer.is_over()) sleep(0s);
  });
}

TEST_CASE_METHOD(TlsTest, "what fails in one fiber does not reach another one that is in the middle of its own") {
  run([&] {
    Server good = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server()});
    Server bad = start_server(echo, "127.0.0.1", 0, {.ssl = certificates.server({.dns_names = {"other"}})});
    const SslContext client = certificates.client();
    const auto fail = [&] {
      for (int i = 0; i < 20; ++i)
        CHECK_THROWS_AS(open_connection("127.0.0.1", bad.port(), {.ssl = client}), SslCertificateError);
    };
    const auto succeed = [&] {
      for (int i = 0; i < 20; ++i) {
        auto [reader, writer] = open_connection("127.0.0.1", good.port(), {.ssl = client});
        writer.write("hello\n");
        CHECK(reader.readline() == "hello\n");
      }
    };
    for (const auto& task : {create_task(fail), create_task(succeed), create_task(fail), create_task(succeed)})
      await(task);
    good.close();
    bad.close();
    good.wait_closed();
    bad.wait_closed();
    CHECK_FALSE(take_reports().empty());  // how many saw the alert before the end is up to the kernel
  });
}
