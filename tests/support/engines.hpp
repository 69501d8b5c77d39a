// Two engines, back to back.
#pragma once
#include <tulp/error.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "ssl/engine.hpp"
#include "support/catch.hpp"
#include "support/tls.hpp"

namespace tulp::test {

using detail::SslEngine;

/// The same context, that speaks no newer version.
inline SslContext only_tls_1_2(SslContext context) {
  SSL_CTX_set_max_proto_version(context.state()->config()->ctx.get(), TLS1_2_VERSION);
  return context;
}

/// One end, and what it has heard.
class EngineEnd {
 public:
  explicit EngineEnd(const SslContext& context, detail::SslTarget target = {})
      : engine(context.state(), std::move(target)) {}

  /// Does what it can with what has come.
  void go_on() {
    if (engine.state() == SslEngine::State::handshake && engine.handshake() != SslEngine::Status::done) return;
    char bytes[4096];
    for (;;) {
      const auto result = engine.read(bytes);
      if (result.status == SslEngine::Status::end) has_ended = true;
      if (result.status != SslEngine::Status::done) return;
      received.append(bytes, result.bytes);
    }
  }
  bool is_open() const { return engine.state() == SslEngine::State::open; }
  bool has_failed() const { return engine.state() == SslEngine::State::failed; }
  /// what() of what has ended it.
  std::string error() const {
    if (!has_failed()) return "it has not failed";
    return describe(engine.failure().to_exception("TLS"));
  }

  SslEngine engine;
  std::string received;
  bool has_ended = false;
};

/// Whom a client speaks to, from a host as users write it.
inline detail::SslTarget target(const std::string& host, const std::string& session_key = {}) {
  return {.host = detail::to_host_name(host), .session_key = session_key};
}

struct EnginePair {
  EnginePair(const SslContext& client_context, const SslContext& server_context, const std::string& host = "localhost",
             const std::string& session_key = {})
      : client(client_context, target(host, session_key)), server(server_context) {}

  /// Carries over what each has to say, in pieces, until both are silent.
  void exchange(std::size_t piece_bytes = 1 << 20) {
    client.go_on();
    for (bool is_moving = true; is_moving;) {
      const bool moved_there = carry(client, server, piece_bytes);
      const bool moved_back = carry(server, client, piece_bytes);
      is_moving = moved_there || moved_back;
    }
  }
  static bool carry(EngineEnd& from, EngineEnd& to, std::size_t piece_bytes) {
    const std::string bytes = std::exchange(from.engine.output(), {});
    for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
      const std::string piece = bytes.substr(at, piece_bytes);  // memory of its own, so that a read too far is seen
      to.engine.receive(piece);
      to.go_on();
      to.engine.keep_input();
    }
    return !bytes.empty();
  }

  EngineEnd client, server;
};

}  // namespace tulp::test
