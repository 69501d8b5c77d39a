// SslContextState: what an SslContext names.  Floor 6, ssl.
#pragma once
#include <tulp/ssl_context.hpp>

#include <memory>
#include <mutex>
#include <string>
#include <variant>

#include "ssl/openssl.hpp"
#include "ssl/sessions.hpp"

namespace tulp::detail {

/// What one reading of a context's files has given.  It does not change any more.
struct SslConfig {
  SslCtxPtr ctx;
  std::string alpn;  // on the wire: each behind its length
};

class SslContextState {
 public:
  explicit SslContextState(const SslClientOptions& options);
  SslContextState(const std::string& chain_file, const std::string& key_file, const SslServerOptions& options);

  bool is_server() const noexcept { return std::holds_alternative<ServerFiles>(source_); }
  /// Thread: any.  What is current; a connection keeps what it began with.
  std::shared_ptr<const SslConfig> config() const;
  void reload();
  SslSessions& sessions() noexcept { return sessions_; }

  bool accepts_truncation() const noexcept;
  bool accepts_any_host_name() const noexcept;
  /// Null for a client's.
  const SslServerOptions* server_options() const noexcept;

 private:
  struct ServerFiles {
    std::string chain_file;
    std::string key_file;
    SslServerOptions options;
  };
  std::shared_ptr<const SslConfig> load() const;

  std::variant<SslClientOptions, ServerFiles> source_;
  SslSessions sessions_;
  mutable std::mutex mutex_;  // over the next one
  std::shared_ptr<const SslConfig> config_;
};

}  // namespace tulp::detail
