// Throws bytes at TLS engines: garbage, and handshakes and records with a few bytes changed.
//
// usage: ssl_engine [ROUNDS]       a run that is the same each time
// As a target of libFuzzer: clang++ -fsanitize=fuzzer -DTULP_LIBFUZZER, with the library's sources.
#include <tulp/error.hpp>
#include <tulp/ssl_context.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "ssl/engine.hpp"
#include "support/certificates.hpp"

namespace {

using namespace tulp;
using detail::SslEngine;

/// Contexts that ask for everything that a peer's bytes can reach: client certificates, ALPN, SNI.
class Contexts {
 public:
  Contexts() {
    char name[] = "/tmp/tulp-fuzz-XXXXXX";
    if (::mkdtemp(name) == nullptr) std::abort();
    const std::filesystem::path folder = name;
    const test::Authority authority;
    const test::Identity identity = authority.issue({.dns_names = {"localhost"}});
    const std::string ca = test::write_file(folder / "ca.pem", authority.certificate_pem());
    const std::string chain = test::write_file(folder / "chain.pem", identity.chain());
    const std::string key = test::write_file(folder / "key.pem", identity.key_pem);
    client = SslContext::client(
        {.ca_file = ca, .certificate_chain_file = chain, .private_key_file = key, .alpn = {"h2", "http/1.1"}});
    server = SslContext::server(chain, key,
                                {.client_certificate = ClientCertificate::optional,
                                 .client_ca_file = ca,
                                 .alpn = {"http/1.1"},
                                 .sni_callback = [](const std::string&) { return std::nullopt; }});
    std::filesystem::remove_all(folder);
  }
  std::optional<SslContext> client, server;
};

const Contexts& contexts() {
  static const Contexts all;
  return all;
}

/// Instructions, read off the fuzzer's bytes; zeros when they are over.
class Script {
 public:
  explicit Script(std::string_view bytes) : bytes_(bytes) {}
  bool is_over() const { return bytes_.empty(); }
  unsigned next() {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(bytes_.front());
    bytes_.remove_prefix(1);
    return byte;
  }
  std::string_view take(std::size_t size) {
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view bytes_;
};

void require(bool condition, const char* promise) {
  if (condition) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

void go_on(SslEngine& engine) {
  engine.handshake();
  char bytes[600];
  for (;;) {
    const auto result = engine.read(bytes);
    if (result.status != SslEngine::Status::done) break;
    require(result.bytes > 0 && result.bytes <= sizeof bytes, "a read that is done gives bytes, and no more than fit");
  }
  if (engine.state() == SslEngine::State::failed)
    require(engine.failure().to_exception("TLS") != nullptr && !describe(engine.failure().to_exception("TLS")).empty(),
            "what fails says why");
  require(ERR_peek_error() == 0 || engine.state() == SslEngine::State::handshake, "no error is left for others");
}

/// Carries bytes over, in pieces of memory of their own, and changes some on the way.
void carry(SslEngine& from, SslEngine& to, Script& script) {
  std::string bytes = std::exchange(from.output(), {});
  const unsigned how = script.next();
  if (!bytes.empty()) {
    const std::size_t at = (script.next() * 257 + script.next()) % bytes.size();
    if (how % 4 == 1) bytes[at] = static_cast<char>(script.next());
    if (how % 8 == 2) bytes.insert(at, script.take(script.next()));
    if (how % 8 == 3) bytes.erase(at, script.next());
    if (how % 16 == 4) bytes += bytes;
  }
  const std::size_t piece = how % 3 == 0 ? 1 + script.next() : bytes.size() + 1;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const auto memory = std::make_unique<std::string>(bytes.substr(at, piece));
    to.receive(*memory);
    go_on(to);
    to.keep_input();
  }
  if (how % 32 == 5) to.receive_end();
  go_on(to);
}

void play(std::string_view bytes) {
  Script script(bytes);
  SslEngine client(contexts().client->state(), {.host = detail::to_host_name("localhost")});
  SslEngine server(contexts().server->state());
  const unsigned kind = script.next();
  if (kind % 8 == 0) {  // garbage alone
    SslEngine& engine = kind % 16 == 0 ? client : server;
    go_on(engine);
    while (!script.is_over()) {
      const auto memory = std::make_unique<std::string>(script.take(1 + script.next()));
      engine.receive(*memory);
      go_on(engine);
      engine.keep_input();
    }
    return;
  }
  go_on(client);
  for (int turn = 0; turn < 12; ++turn) {
    carry(client, server, script);
    carry(server, client, script);
    if (client.state() == SslEngine::State::open && script.next() % 2 == 0) client.write(script.take(40));
    if (server.state() == SslEngine::State::open && script.next() % 2 == 0) server.write(std::string(2000, 'x'));
    if (turn > 6 && script.next() % 8 == 1) client.write_end();
    if (turn > 6 && script.next() % 8 == 1) server.write_end();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  play({reinterpret_cast<const char*>(data), size});
  return 0;
}

#ifndef TULP_LIBFUZZER
int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 1000;
  std::uint32_t seed = 1;
  const auto random = [&] {
    seed = seed * 1664525 + 1013904223;
    return seed >> 16;
  };
  std::string bytes;
  for (int round = 0; round < rounds; ++round) {
    bytes.resize(random() % 400);
    for (char& byte : bytes) byte = static_cast<char>(random());
    play(bytes);
  }
  std::printf("%d rounds\n", rounds);
}
#endif
