#include "ssl/context.hpp"

#include <tulp/error.hpp>
#include <tulp/ssl_context.hpp>

#include <stdexcept>
#include <string>

#include "support/catch.hpp"
#include "support/engines.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// what() of the SslError that `call` throws.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const SslError& error) {
    return error.what();
  }
  return "no SslError was thrown";
}

}  // namespace

TEST_CASE("a file that cannot be loaded is an error that names it") {
  Certificates all;
  const auto good = all.issue({.dns_names = {"localhost"}});
  const auto other = all.issue({.dns_names = {"localhost"}});
  const std::string missing = all / "missing.pem";
  CHECK(error_of([&] { SslContext::server(missing, good.key_file); }) ==
        "load certificate " + missing + ": No such file or directory");
  CHECK(error_of([&] { SslContext::server(good.chain_file, missing); }) ==
        "load private key " + missing + " for certificate " + good.chain_file + ": No such file or directory");
  CHECK(error_of([&] { SslContext::server(good.chain_file, other.key_file); }) ==
        "load private key " + other.key_file + " for certificate " + good.chain_file + ": key values mismatch");
  const auto rsa = all.issue({.dns_names = {"localhost"}, .rsa_bits = 2048});
  const std::string mixed_up = error_of([&] { SslContext::server(good.chain_file, rsa.key_file); });
  CHECK(mixed_up.find("load private key " + rsa.key_file + " for certificate " + good.chain_file) == 0);
  CHECK(mixed_up.find("type") != std::string::npos);
  const std::string garbage = all.write("garbage.pem", "this is no certificate\n");
  CHECK(error_of([&] { SslContext::server(garbage, good.key_file); }) ==
        "load certificate " + garbage + ": no start line");
  CHECK(error_of([&] { SslContext::client({.ca_file = missing}); }).find(missing) != std::string::npos);
  const std::string empty = all.write("empty.pem", "");
  CHECK(error_of([&] { SslContext::client({.ca_file = empty}); }) ==
        "load trusted certificates " + empty + ": no certificate or crl found");
  CHECK(error_of([&] { SslContext::client({.ca_directory = missing}); }) ==
        "load trusted certificates " + missing + ": Not a directory");
  CHECK(error_of([&] { SslContext::client({.ca_file = all.ca_file(), .crl_file = empty}); }).find(empty) !=
        std::string::npos);
}

TEST_CASE("an own certificate that is not valid today, or too weak, is an error that names its file") {
  Certificates all;
  const auto expired = all.issue({.valid_from_days = -9, .valid_to_days = -1});
  CHECK(error_of([&] { all.server(expired); }) ==
        "load certificate " + expired.chain_file + ": certificate verify failed: certificate has expired");
  const auto early = all.issue({.valid_from_days = 1});
  CHECK(error_of([&] { all.server(early); }) ==
        "load certificate " + early.chain_file + ": certificate verify failed: certificate is not yet valid");
  const auto weak = all.issue({.rsa_bits = 1024});
  CHECK(error_of([&] { all.server(weak); }) == "load certificate " + weak.chain_file + ": ee key too small");
}

TEST_CASE("an encrypted key needs its passphrase, and nobody is asked for it at a terminal") {
  Certificates all;
  const Identity identity = all.authority().issue({.dns_names = {"localhost"}});
  const std::string chain = all.write("chain.pem", identity.chain());
  const std::string key = all.write("key.pem", Authority::encrypt_key(identity, "open sesame"));
  CHECK(SslContext::server(chain, key, {.passphrase = "open sesame"}).is_server());
  CHECK(error_of([&] { SslContext::server(chain, key); }).find(key) != std::string::npos);
  CHECK(error_of([&] { SslContext::server(chain, key, {.passphrase = "wrong"}); }).find(key) != std::string::npos);
}

TEST_CASE("options that make no sense are refused") {
  Certificates all;
  CHECK_THROWS_AS(all.client({.alpn = {""}}), std::invalid_argument);
  CHECK_THROWS_AS(all.client({.alpn = {std::string(256, 'a')}}), std::invalid_argument);
  CHECK_THROWS_AS(all.server({.client_certificate = ClientCertificate::required}), std::invalid_argument);
  CHECK_THROWS_AS(all.server({.client_ca_file = all.ca_file()}), std::invalid_argument);
}

TEST_CASE("a reload takes new certificates, and keeps the old ones if it fails") {
  Certificates all;
  const auto files = all.issue({.common_name = "old", .dns_names = {"localhost"}});
  SslContext server = all.server(files);
  const auto name_of = [&] {
    EnginePair pair(all.client(), server);
    pair.exchange();
    REQUIRE(pair.client.is_open());
    return pair.client.engine.peer_certificate()->subject;
  };
  CHECK(name_of() == "CN=old");
  EnginePair standing(all.client(), server);
  standing.exchange();

  const Identity fresh = all.authority().issue({.common_name = "new", .dns_names = {"localhost"}});
  write_file(files.chain_file, fresh.chain());
  CHECK_THROWS_AS(server.reload(), SslError);  // the key is still the old one
  CHECK(name_of() == "CN=old");
  write_file(files.key_file, fresh.key_pem);
  server.reload();
  CHECK(name_of() == "CN=new");
  standing.client.engine.write("still here");
  standing.exchange();
  CHECK(standing.server.received == "still here");
}

TEST_CASE("a certificate that its issuer has taken back is refused") {
  Certificates all;
  const Identity revoked = all.authority().issue({.dns_names = {"localhost"}});
  const std::string list = all.write("revoked.crl", all.authority().revocation_list({revoked}));
  const SslContext client = all.client({.crl_file = list});
  EnginePair good(client, all.server());
  good.exchange();
  CHECK(good.client.is_open());
  EnginePair bad(client, all.server(revoked));
  bad.exchange();
  CHECK(bad.client.error() == "TLS: certificate verify failed: certificate revoked");
}

TEST_CASE("copies of a context are the same one") {
  Certificates all;
  const SslContext one = all.client();
  const SslContext copy = one;
  CHECK(copy == one);
  CHECK_FALSE(all.client() == one);
  CHECK_FALSE(one.is_server());
}
