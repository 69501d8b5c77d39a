#include "tls.hpp"

#include <tulp/error.hpp>

#include <string>

#include "exit_code.hpp"

namespace tool {
namespace {

/// Whether these files cannot be used.
bool are_bad(const tulp::SslClientOptions& trust) {
  try {
    tulp::SslContext::client(trust);
    return false;
  } catch (const tulp::SslError&) {
    return true;
  }
}

}  // namespace

void ClientTls::add_options(CLI::App& command, const char* insecure) {
  command.add_option("--cacert", options_.ca_file, "Trust the certificates in this file, instead of the system's")
      ->type_name("FILE");
  command.add_option("--crlfile", options_.crl_file, "What has been revoked, from the issuer of each certificate")
      ->type_name("FILE");
  CLI::Option* certificate =
      command
          .add_option("--cert", options_.certificate_chain_file, "The own certificate, for servers that ask for one")
          ->type_name("FILE");
  command.add_option("--key", options_.private_key_file, "Its key, if that is not in the same file")
      ->type_name("FILE")
      ->needs(certificate);
  command.add_flag(insecure, options_.danger_accept_any_certificate,
                   "Believe whoever answers: no certificate is checked");
}

const tulp::SslContext& ClientTls::context() {
  try {
    if (!context_) context_ = tulp::SslContext::client(options_);
  } catch (const tulp::SslError& error) {
    const bool is_trust = are_bad({.ca_file = options_.ca_file, .crl_file = options_.crl_file});
    throw Failure(is_trust ? ExitCode::bad_ca_file : ExitCode::bad_certificate_file, error.what());
  }
  return *context_;
}

void ServerTls::add_options(CLI::App& command) {
  CLI::Option* certificate =
      command.add_option("--tls-cert", chain_file_, "Speak TLS, with the certificate and those behind it in this file")
          ->type_name("FILE");
  command.add_option("--tls-key", key_file_, "The certificate's key, if that is not in the same file")
      ->type_name("FILE")
      ->needs(certificate);
  command
      .add_option("--client-ca", client_ca_file_, "Take only clients with a certificate that one in this file signed")
      ->type_name("FILE")
      ->needs(certificate);
}

std::optional<tulp::SslContext> ServerTls::context() const {
  if (!is_wanted()) return std::nullopt;
  tulp::SslServerOptions options{.client_ca_file = client_ca_file_};
  if (!client_ca_file_.empty()) options.client_certificate = tulp::ClientCertificate::required;
  try {
    return tulp::SslContext::server(chain_file_, key_file_, options);
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::bad_certificate_file, error.what());
  }
}

}  // namespace tool
