// Certificates in files, and contexts that use them.
#pragma once
#include <tulp/ssl_context.hpp>

#include <string>
#include <utility>
#include <vector>

#include "support/certificates.hpp"
#include "support/folder.hpp"

namespace tulp::test {

/// An authority, and files for what it issues.
class Certificates {
 public:
  Certificates() : ca_file_(write("ca.pem", authority_.certificate_pem())) {}

  const Authority& authority() const { return authority_; }
  const std::string& ca_file() const { return ca_file_; }
  std::string operator/(const std::string& name) const { return folder_ / name; }
  std::string write(const std::string& name, const std::string& text) const { return write_file(folder_ / name, text); }

  struct Files {
    std::string chain_file;
    std::string key_file;
  };
  Files write(const Identity& identity) {
    const std::string name = "identity" + std::to_string(++count_);
    return {write(name + ".pem", identity.chain()), write(name + ".key", identity.key_pem)};
  }
  Files issue(const Claims& claims) { return write(authority_.issue(claims)); }

  /// A client that trusts the authority.
  SslContext client(SslClientOptions options = {}) const {
    if (options.ca_file.empty()) options.ca_file = ca_file_;
    return SslContext::client(options);
  }
  SslContext server(const Files& files, const SslServerOptions& options = {}) const {
    return SslContext::server(files.chain_file, files.key_file, options);
  }
  SslContext server(const Identity& identity, const SslServerOptions& options = {}) {
    return server(write(identity), options);
  }
  SslContext server(const Claims& claims, const SslServerOptions& options = {}) {
    return server(issue(claims), options);
  }
  /// For localhost and the loopback addresses.
  SslContext server(const SslServerOptions& options = {}) {
    if (localhost_.chain_file.empty())
      localhost_ =
          issue({.common_name = "localhost", .dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1", "::1"}});
    return server(localhost_, options);
  }

 private:
  Folder folder_;
  Authority authority_;
  std::string ca_file_;
  Files localhost_;
  int count_ = 0;
};

}  // namespace tulp::test
