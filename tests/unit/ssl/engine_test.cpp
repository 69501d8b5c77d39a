#include "ssl/engine.hpp"

#include <tulp/error.hpp>

#include <stdexcept>
#include <string>

#include "support/catch.hpp"
#include "support/engines.hpp"

using namespace tulp;
using namespace tulp::test;
using State = SslEngine::State;

namespace {

Certificates& certificates() {
  static Certificates all;
  return all;
}

/// A client that trusts the authority, and a server with a certificate, after their handshake.
EnginePair meet(const Claims& claims, const std::string& host) {
  return {certificates().client(), certificates().server(claims), host};
}

std::string reason(EnginePair&& pair) {
  pair.exchange();
  if (pair.client.is_open()) return "ok";
  CHECK_FALSE(pair.server.is_open());
  return pair.client.error();
}

std::string reason(const Claims& claims, const std::string& host) { return reason(meet(claims, host)); }

}  // namespace

TEST_CASE("two engines shake hands and carry bytes both ways") {
  EnginePair pair(certificates().client(), certificates().server());
  pair.exchange();
  REQUIRE(pair.client.is_open());
  REQUIRE(pair.server.is_open());
  CHECK(pair.client.engine.version() == "TLSv1.3");
  CHECK_FALSE(pair.client.engine.cipher().empty());
  CHECK(pair.client.engine.alpn().empty());
  const auto certificate = pair.client.engine.peer_certificate();
  REQUIRE(certificate);
  CHECK(certificate->subject == "CN=localhost");
  CHECK(certificate->issuer == "CN=Test Root");
  CHECK(certificate->dns_names == std::vector<std::string>{"localhost"});
  CHECK(certificate->ip_addresses == std::vector<std::string>{"127.0.0.1", "::1"});
  CHECK(certificate->not_after - certificate->not_before == std::chrono::hours(24) * 31);
  CHECK(certificate->pem().starts_with("-----BEGIN CERTIFICATE-----"));
  CHECK_FALSE(pair.server.engine.peer_certificate());

  const std::string big(100'000, 'x');
  CHECK(pair.client.engine.write("hello").status == SslEngine::Status::done);
  CHECK(pair.server.engine.write(big).bytes == big.size());
  pair.exchange();
  CHECK(pair.server.received == "hello");
  CHECK(pair.client.received == big);
}

TEST_CASE("however the bytes come, the data are the same") {
  const auto piece = GENERATE(std::size_t{1}, std::size_t{3}, std::size_t{17}, std::size_t{1000});
  EnginePair pair(certificates().client(), certificates().server());
  pair.exchange(piece);
  REQUIRE(pair.client.is_open());
  std::string sent;
  for (std::size_t size = 1; size < 3000; size = size * 3 + 1) {
    const std::string record(size, static_cast<char>('a' + size % 20));
    pair.client.engine.write(record);
    sent += record;
  }
  pair.exchange(piece);
  CHECK(pair.server.received == sent);
}

TEST_CASE("a flipped bit is noticed, and the peer is told") {
  EnginePair pair(certificates().client(), certificates().server());
  pair.exchange();
  pair.client.engine.write("hello");
  pair.client.engine.output()[7] ^= 1;
  pair.exchange();
  CHECK(pair.server.received.empty());
  CHECK(pair.server.error() == "TLS: decryption failed or bad record mac");
  CHECK(pair.client.error().find("bad record mac") != std::string::npos);
}

TEST_CASE("each end says that it ends, in either order") {
  EnginePair pair(certificates().client(), certificates().server());
  pair.exchange();
  pair.client.engine.write("last words");
  pair.client.engine.write_end();
  CHECK(pair.client.engine.state() == State::ending);
  pair.exchange();
  CHECK(pair.server.received == "last words");
  CHECK(pair.server.has_ended);
  CHECK(pair.server.engine.state() == State::peer_ended);
  CHECK(pair.server.engine.write("I still speak").status == SslEngine::Status::done);
  pair.server.engine.write_end();
  CHECK(pair.server.engine.state() == State::ended);
  pair.exchange();
  CHECK(pair.client.received == "I still speak");
  CHECK(pair.client.engine.state() == State::ended);
}

TEST_CASE("both ends may end at once") {
  EnginePair pair(certificates().client(), certificates().server());
  pair.exchange();
  pair.client.engine.write_end();
  pair.server.engine.write_end();
  pair.exchange();
  CHECK(pair.client.engine.state() == State::ended);
  CHECK(pair.server.engine.state() == State::ended);
}

TEST_CASE("an end without TLS's own word is a truncation, after what came before it") {
  EnginePair pair(certificates().client(), certificates().server());
  pair.exchange();
  pair.client.engine.write("half of");
  const std::string bytes = pair.client.engine.output();
  pair.server.engine.receive(bytes);
  pair.server.engine.receive_end();
  pair.server.go_on();
  CHECK(pair.server.received == "half of");
  CHECK(pair.server.engine.is_truncated());
  CHECK(pair.server.error().find("truncated") != std::string::npos);
}

TEST_CASE("a certificate has to be for the host, and says so otherwise") {
  CHECK(reason({.dns_names = {"a.example"}}, "a.example") == "ok");
  CHECK(reason({.dns_names = {"a.example"}}, "A.Example") == "ok");
  CHECK(reason({.dns_names = {"a.example"}}, "a.example.") == "ok");
  CHECK(reason({.dns_names = {"a.example", "b.example"}}, "c.example") ==
        "TLS: certificate verify failed: hostname mismatch: it is for a.example, b.example, not for c.example");
  CHECK(reason({.common_name = "a.example"}, "a.example").ends_with("it is for nobody, not for a.example"));
  CHECK(reason({.dns_names = {"*.a.example"}}, "b.a.example") == "ok");
  CHECK(reason({.dns_names = {"*.a.example"}}, "a.example") != "ok");
  CHECK(reason({.dns_names = {"*.a.example"}}, "c.b.a.example") != "ok");
  CHECK(reason({.dns_names = {"f*.a.example"}}, "foo.a.example") != "ok");
  CHECK(reason({.dns_names = {"*"}}, "example") != "ok");
  CHECK(reason({.dns_names = {"*.0.0.1"}}, "127.0.0.1") != "ok");
  CHECK(reason({.ip_addresses = {"127.0.0.1"}}, "127.0.0.1") == "ok");
  CHECK(reason({.ip_addresses = {"::1"}}, "::1") == "ok");
  CHECK(reason({.ip_addresses = {"fe80::1"}}, "fe80::1%eth0") == "ok");
  CHECK(reason({.dns_names = {"127.0.0.1"}}, "127.0.0.1") ==
        "TLS: certificate verify failed: IP address mismatch: it is for 127.0.0.1, not for 127.0.0.1");
  CHECK(reason({.dns_names = {"xn--bcher-kva.example"}},
               "b\xC3\xBC"
               "cher.example") == "ok");
  CHECK(reason({.dns_names = {"xn--bcher-kva.example"}},
               "B\xC3\x9C"
               "CHER.example") == "ok");
}

TEST_CASE("what is no host name is refused") {
  CHECK_THROWS_AS(target(""), std::invalid_argument);
  CHECK_THROWS_AS(target(std::string("a.example\0.evil", 15)), std::invalid_argument);
  CHECK_THROWS_AS(target(std::string(300, 'a')), std::invalid_argument);
  CHECK_THROWS_AS(target("\xFF\xFE"), std::invalid_argument);
}

TEST_CASE("a certificate that is not to be trusted is refused, with the reason") {
  Certificates& all = certificates();
  const std::vector<std::string> names = {"localhost"};
  const auto reason_of = [&](const Identity& identity) {
    return reason(EnginePair(all.client(), all.server(identity)));
  };
  const Authority other("Other Root");
  const Authority intermediate = all.authority().intermediate("Intermediate");
  CHECK(reason_of(intermediate.issue({.dns_names = names})) == "ok");
  Identity incomplete = intermediate.issue({.dns_names = names});
  incomplete.chain_pem.clear();
  CHECK(reason_of(incomplete) == "TLS: certificate verify failed: unable to get local issuer certificate");
  CHECK(reason_of(other.issue({.dns_names = names})) ==
        "TLS: certificate verify failed: unable to get local issuer certificate");
  CHECK(reason_of(Authority::self_signed({.dns_names = names})) ==
        "TLS: certificate verify failed: self-signed certificate");
  CHECK(reason_of(all.authority().intermediate("None", false).issue({.dns_names = names})) ==
        "TLS: certificate verify failed: invalid CA certificate: CN=None");
  CHECK(reason_of(all.authority().issue({.dns_names = names, .purposes = "clientAuth"})) ==
        "TLS: certificate verify failed: unsuitable certificate purpose");
}

TEST_CASE("a session is resumed with the same server, and checked for its name") {
  Certificates& all = certificates();
  const SslContext server = all.server();
  const SslContext client = GENERATE(false, true) ? only_tls_1_2(all.client()) : all.client();
  const auto is_reused = [&](const SslContext& with, const std::string& key) {
    EnginePair pair(with, server, "localhost", key);
    pair.exchange();
    REQUIRE(pair.client.is_open());
    REQUIRE(pair.client.engine.peer_certificate());
    CHECK(pair.client.engine.is_session_reused() == pair.server.engine.is_session_reused());
    return pair.client.engine.is_session_reused();
  };
  CHECK_FALSE(is_reused(client, "localhost:1"));
  CHECK(is_reused(client, "localhost:1"));
  CHECK(is_reused(client, "localhost:1"));
  CHECK_FALSE(is_reused(client, "localhost:2"));
  CHECK_FALSE(is_reused(all.client(), "localhost:1"));  // whoever trusts somebody else remembers nothing of that
  SslContext(server).reload();
  CHECK_FALSE(is_reused(client, "localhost:1"));
}

TEST_CASE("ALPN settles on what the server likes best, or ends with a word for it on both sides") {
  Certificates& all = certificates();
  EnginePair pair(all.client({.alpn = {"http/1.1", "h2"}}), all.server({.alpn = {"h2", "http/1.1"}}));
  pair.exchange();
  CHECK(pair.client.engine.alpn() == "h2");
  CHECK(pair.server.engine.alpn() == "h2");

  EnginePair silent(all.client({.alpn = {"h2"}}), all.server());
  silent.exchange();
  CHECK(silent.client.is_open());
  CHECK(silent.client.engine.alpn().empty());

  EnginePair strangers(all.client({.alpn = {"h2"}}), all.server({.alpn = {"http/1.1"}}));
  strangers.exchange();
  CHECK(strangers.client.error().find("no application protocol") != std::string::npos);
  CHECK(strangers.server.error().find("no application protocol") != std::string::npos);
}

TEST_CASE("the server chooses its certificate by the name that the client asks for") {
  Certificates& all = certificates();
  const SslContext a = all.server({.dns_names = {"a.example"}}, {.alpn = {"a"}});
  const SslContext fallback = all.server({.dns_names = {"b.example"}, .ip_addresses = {"127.0.0.1"}},
                                         {.sni_callback = [&](const std::string& name) -> std::optional<SslContext> {
                                           if (name == "a.example") return a;
                                           if (name == "evil.example") throw std::runtime_error("not here");
                                           return std::nullopt;
                                         }});
  EnginePair first(all.client({.alpn = {"a"}}), fallback, "a.example");
  first.exchange();
  CHECK(first.client.error() == "it has not failed");
  CHECK(first.client.engine.alpn() == "a");
  CHECK(first.server.engine.context() == a.state());
  CHECK(reason(EnginePair(all.client(), fallback, "b.example")) == "ok");
  CHECK(reason(EnginePair(all.client(), fallback, "127.0.0.1")) == "ok");  // and no name is sent
  EnginePair unknown(all.client(), fallback, "evil.example");
  unknown.exchange();
  CHECK(unknown.client.error().find("unrecognized name") != std::string::npos);
  CHECK(unknown.server.error().find("sni_callback: not here") != std::string::npos);
}

TEST_CASE("a server that asks for certificates says which clients it refuses, and they hear why") {
  Certificates& all = certificates();
  SslContext server = all.server({.client_certificate = ClientCertificate::required, .client_ca_file = all.ca_file()});
  const bool is_old = GENERATE(false, true);
  if (is_old) server = only_tls_1_2(server);
  const auto client = [&](const Identity& identity) {
    const auto files = all.write(identity);
    return all.client({.certificate_chain_file = files.chain_file, .private_key_file = files.key_file});
  };
  EnginePair right(client(all.authority().issue({.common_name = "me"})), server);
  right.exchange();
  REQUIRE(right.server.is_open());
  CHECK(right.server.engine.peer_certificate()->subject == "CN=me");

  EnginePair none(all.client(), server);
  none.exchange();
  CHECK(none.server.error() == "TLS: peer did not return a certificate");
  CHECK(none.client.error().find(is_old ? "handshake failure" : "certificate required") != std::string::npos);

  EnginePair wrong(client(Authority("Other").issue({.common_name = "me"})), server);
  wrong.exchange();
  CHECK(wrong.server.error() == "TLS: certificate verify failed: unable to get local issuer certificate");
  CHECK(wrong.client.error().find("unknown ca") != std::string::npos);

  EnginePair none_wanted(
      all.client(), all.server({.client_certificate = ClientCertificate::optional, .client_ca_file = all.ca_file()}));
  none_wanted.exchange();
  CHECK(none_wanted.server.is_open());
}

TEST_CASE("what is not TLS is told apart") {
  EngineEnd server(certificates().server());
  server.engine.receive("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  server.go_on();
  CHECK(server.error() == "TLS: the peer speaks plain HTTP: http request");
  EngineEnd other(certificates().server());
  other.engine.receive("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n");
  other.go_on();
  CHECK(other.error().starts_with("TLS: the peer does not speak TLS: "));
  EngineEnd client(certificates().client(), target("localhost"));
  client.go_on();
  client.engine.receive("HTTP/1.1 400 Bad Request\r\n\r\n");
  client.go_on();
  CHECK(client.error().starts_with("TLS: the peer speaks plain HTTP: "));
}

TEST_CASE("what is dangerous has to be asked for") {
  Certificates& all = certificates();
  const SslContext stranger = all.server(Authority::self_signed({.dns_names = {"b.example"}}));
  const SslContext known = all.server({.dns_names = {"b.example"}});
  CHECK(reason(EnginePair(all.client({.danger_accept_any_certificate = true}), stranger)) == "ok");
  CHECK(reason(EnginePair(all.client({.danger_accept_any_host_name = true}), stranger)) != "ok");
  CHECK(reason(EnginePair(all.client({.danger_accept_any_host_name = true}), known)) == "ok");
  CHECK(reason(EnginePair(all.client({.danger_accept_any_host_name = true}), known, "127.0.0.1")) == "ok");
}
