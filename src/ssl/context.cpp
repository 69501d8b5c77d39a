#include "ssl/context.hpp"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <tulp/error.hpp>

#include <cstring>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <utility>

#include "ssl/engine.hpp"
#include "ssl/error.hpp"

namespace tulp::detail {
namespace {

/// Forward secrecy and authenticated encryption, for TLS 1.2; all that TLS 1.3 has is like that.
constexpr const char* ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
/// 112 bits: RSA and DH of 2048, elliptic curves of 224, SHA-256.
constexpr int security_level = 2;

[[noreturn]] void throw_load_error(const char* kind, const std::string& file) {
  throw SslError(take_ssl_error(), std::string("load ") + kind + ' ' + file);
}

/// Without one OpenSSL would ask the terminal.
int give_passphrase(char* buffer, int size, int, void* passphrase) noexcept {
  const auto& text = *static_cast<const std::string*>(passphrase);
  if (text.size() > static_cast<std::size_t>(size)) return -1;
  std::memcpy(buffer, text.data(), text.size());
  return static_cast<int>(text.size());
}

void check_dates(const X509& certificate, const std::string& file) {
  long result = X509_V_OK;
  if (X509_cmp_current_time(X509_get0_notAfter(&certificate)) < 0) result = X509_V_ERR_CERT_HAS_EXPIRED;
  if (X509_cmp_current_time(X509_get0_notBefore(&certificate)) > 0) result = X509_V_ERR_CERT_NOT_YET_VALID;
  if (result != X509_V_OK)
    throw SslCertificateError(result, X509_verify_cert_error_string(result), "load certificate " + file);
}

void load_identity(SSL_CTX& ctx, const std::string& chain_file, const std::string& key_file, std::string passphrase) {
  SSL_CTX_set_default_passwd_cb(&ctx, give_passphrase);
  SSL_CTX_set_default_passwd_cb_userdata(&ctx, &passphrase);
  if (SSL_CTX_use_certificate_chain_file(&ctx, chain_file.c_str()) != 1) throw_load_error("certificate", chain_file);
  const X509* certificate = SSL_CTX_get0_certificate(&ctx);
  check_dates(*certificate, chain_file);
  const std::string& key = key_file.empty() ? chain_file : key_file;
  // A key of another type takes a place of its own in the context, so it is held against the certificate itself.
  if (SSL_CTX_use_PrivateKey_file(&ctx, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      X509_check_private_key(certificate, SSL_CTX_get0_privatekey(&ctx)) != 1)
    throw_load_error("private key", key + " for certificate " + chain_file);
  SSL_CTX_set_default_passwd_cb_userdata(&ctx, nullptr);
}

void load_trusted(SSL_CTX& ctx, const std::string& file) {
  if (SSL_CTX_load_verify_file(&ctx, file.c_str()) != 1) throw_load_error("trusted certificates", file);
}

void load_revoked(SSL_CTX& ctx, const std::string& file) {
  X509_STORE* store = SSL_CTX_get_cert_store(&ctx);
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  if (lookup == nullptr || X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) < 1)
    throw_load_error("revoked certificates", file);
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(&ctx), X509_V_FLAG_CRL_CHECK);
}

std::string to_wire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255)
      throw std::invalid_argument("alpn: the name of a protocol has 1 to 255 bytes");
    wire += static_cast<char>(static_cast<unsigned char>(protocol.size()));
    wire += protocol;
  }
  return wire;
}

SslCtxPtr new_ctx(const SSL_METHOD* method, TlsVersion minimum_version) {
  SslCtxPtr ctx(SSL_CTX_new(method));
  if (ctx == nullptr) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(ctx.get(), minimum_version == TlsVersion::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_security_level(ctx.get(), security_level);
  SSL_CTX_set_cipher_list(ctx.get(), ciphers);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS);
  return ctx;
}

std::shared_ptr<const SslConfig> load(const SslClientOptions& options) {
  auto config = std::make_shared<SslConfig>();
  config->alpn = to_wire(options.alpn);
  config->ctx = new_ctx(TLS_client_method(), options.minimum_version);
  SSL_CTX& ctx = *config->ctx;
  if (!options.ca_file.empty()) load_trusted(ctx, options.ca_file);
  if (!options.ca_directory.empty()) {
    if (!std::filesystem::is_directory(options.ca_directory))
      throw SslError(static_cast<int>(static_cast<unsigned>(ERR_SYSTEM_FLAG) | ENOTDIR),
                     "load trusted certificates " + options.ca_directory);
    if (SSL_CTX_load_verify_dir(&ctx, options.ca_directory.c_str()) != 1)
      throw_load_error("trusted certificates", options.ca_directory);
  }
  if (options.ca_file.empty() && options.ca_directory.empty()) SSL_CTX_set_default_verify_paths(&ctx);
  if (!options.crl_file.empty()) load_revoked(ctx, options.crl_file);
  if (!options.certificate_chain_file.empty())
    load_identity(ctx, options.certificate_chain_file, options.private_key_file, options.passphrase);
  if (!config->alpn.empty())
    SSL_CTX_set_alpn_protos(&ctx, reinterpret_cast<const unsigned char*>(config->alpn.data()),
                            static_cast<unsigned>(config->alpn.size()));
  SSL_CTX_set_verify(&ctx, options.danger_accept_any_certificate ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     SslEngine::on_verify);
  X509_VERIFY_PARAM_set_hostflags(SSL_CTX_get0_param(&ctx),
                                  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  SSL_CTX_set_session_cache_mode(&ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(&ctx, SslEngine::on_session);
  ERR_clear_error();
  return config;
}

/// The first of ours that the client offers too.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                    unsigned offered_size, void* config) noexcept {
  const std::string& alpn = static_cast<const SslConfig*>(config)->alpn;
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, chosen_size, reinterpret_cast<const unsigned char*>(alpn.data()),
                                           static_cast<unsigned>(alpn.size()), offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

void ask_for_certificates(SSL_CTX& ctx, const SslServerOptions& options) {
  if (options.client_certificate == ClientCertificate::none) {
    if (!options.client_ca_file.empty() || !options.client_crl_file.empty())
      throw std::invalid_argument("client_ca_file is for a server that asks its clients for certificates");
    return;
  }
  if (options.client_ca_file.empty())
    throw std::invalid_argument("a server that asks its clients for certificates needs client_ca_file");
  load_trusted(ctx, options.client_ca_file);
  SSL_CTX_set_client_CA_list(&ctx, SSL_load_client_CA_file(options.client_ca_file.c_str()));
  if (!options.client_crl_file.empty()) load_revoked(ctx, options.client_crl_file);
  const int needs = options.client_certificate == ClientCertificate::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
  SSL_CTX_set_verify(&ctx, SSL_VERIFY_PEER | needs, SslEngine::on_verify);
}

std::shared_ptr<const SslConfig> load(const std::string& chain_file, const std::string& key_file,
                                      const SslServerOptions& options) {
  auto config = std::make_shared<SslConfig>();
  config->alpn = to_wire(options.alpn);
  config->ctx = new_ctx(TLS_server_method(), options.minimum_version);
  SSL_CTX& ctx = *config->ctx;
  load_identity(ctx, chain_file, key_file, options.passphrase);
  ask_for_certificates(ctx, options);
  if (!config->alpn.empty()) SSL_CTX_set_alpn_select_cb(&ctx, choose_protocol, config.get());
  if (options.sni_callback)
    SSL_CTX_callback_ctrl(&ctx, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                          reinterpret_cast<void (*)()>(SslEngine::on_server_name));
  // The client keeps the session.  One that another context has begun, which may trust other clients, is not resumed.
  SSL_CTX_set_session_cache_mode(&ctx, SSL_SESS_CACHE_OFF);
  unsigned char id[16];
  RAND_bytes(id, sizeof id);
  SSL_CTX_set_session_id_context(&ctx, id, sizeof id);
  ERR_clear_error();
  return config;
}

}  // namespace

SslContextState::SslContextState(const SslClientOptions& options) : source_(options), config_(load()) {}

SslContextState::SslContextState(const std::string& chain_file, const std::string& key_file,
                                 const SslServerOptions& options)
    : source_(ServerFiles{chain_file, key_file, options}), config_(load()) {}

std::shared_ptr<const SslConfig> SslContextState::load() const {
  ERR_clear_error();
  if (const auto* client = std::get_if<SslClientOptions>(&source_)) return detail::load(*client);
  const auto& server = std::get<ServerFiles>(source_);
  return detail::load(server.chain_file, server.key_file, server.options);
}

std::shared_ptr<const SslConfig> SslContextState::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

void SslContextState::reload() {
  auto loaded = load();
  {
    const std::lock_guard lock(mutex_);
    config_.swap(loaded);
  }
  sessions_.clear();
}

const SslServerOptions* SslContextState::server_options() const noexcept {
  const auto* server = std::get_if<ServerFiles>(&source_);
  return server != nullptr ? &server->options : nullptr;
}

bool SslContextState::accepts_truncation() const noexcept {
  if (const auto* server = server_options()) return server->danger_accept_truncation;
  return std::get<SslClientOptions>(source_).danger_accept_truncation;
}

bool SslContextState::accepts_any_host_name() const noexcept {
  const auto* client = std::get_if<SslClientOptions>(&source_);
  return client != nullptr && (client->danger_accept_any_certificate || client->danger_accept_any_host_name);
}

}  // namespace tulp::detail

namespace tulp {

SslContext SslContext::client(const SslClientOptions& options) {
  return SslContext(std::make_shared<detail::SslContextState>(options));
}

SslContext SslContext::server(const std::string& chain_file, const std::string& key_file,
                              const SslServerOptions& options) {
  return SslContext(std::make_shared<detail::SslContextState>(chain_file, key_file, options));
}

bool SslContext::is_server() const noexcept { return state_->is_server(); }
void SslContext::reload() { state_->reload(); }

}  // namespace tulp
