// TLS as command lines ask for it: options that subcommands share, and the contexts that come of them.
#pragma once
#include <tulp/ssl_context.hpp>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tool {

/// Connecting: --cacert, --crlfile, --cert, --key and --insecure, as curl has them.
class ClientTls {
 public:
  /// `alpn` is what is offered to be spoken inside.
  explicit ClientTls(std::vector<std::string> alpn = {}) { options_.alpn = std::move(alpn); }
  /// This has to outlive the command.  `insecure` is the name of that option, where -k stands for another one.
  void add_options(CLI::App& command, const char* insecure = "-k,--insecure");
  /// Of these options.
  static constexpr const char* names[] = {"--cacert", "--crlfile", "--cert", "--key", "--insecure"};
  bool is_insecure() const noexcept { return options_.danger_accept_any_certificate; }
  /// One for all connections, so that sessions are resumed; made when it is first asked for.
  /// Throws: Failure - a file cannot be used.
  const tulp::SslContext& context();

 private:
  tulp::SslClientOptions options_;
  std::optional<tulp::SslContext> context_;
};

/// Listening: --tls-cert, --tls-key and --client-ca.
class ServerTls {
 public:
  void add_options(CLI::App& command);
  bool is_wanted() const noexcept { return !chain_file_.empty(); }
  /// Nothing if it is not wanted.  Throws: Failure - a file cannot be used.
  std::optional<tulp::SslContext> context() const;

 private:
  std::string chain_file_, key_file_, client_ca_file_;
};

}  // namespace tool
