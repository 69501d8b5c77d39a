// SslContext: what TLS connections have in common: trust, certificates, protocols.  Floor 6, ssl.
//
// `{.ssl = SslContext::client()}` is safe.  Whatever makes it less so has a name that begins with danger_.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tulp {

namespace detail {
class SslContextState;
}

/// What is older is never spoken: RFC 8996.
enum class TlsVersion : std::uint8_t { tls_1_2, tls_1_3 };

/// Files are PEM.  An empty name is none.
struct SslClientOptions {
  /// Whom to trust, instead of whom the system trusts: a file of certificates, a directory as openssl-rehash(1) makes it.
  std::string ca_file = {};
  std::string ca_directory = {};
  /// Certificates that their issuer has revoked; it must have a word from the issuer of each peer's certificate.
  std::string crl_file = {};
  /// For servers that ask for one: the client's own certificate, followed by its intermediate ones, and its key, which may
  /// stand in the same file.
  std::string certificate_chain_file = {};
  std::string private_key_file = {};
  /// Of the key.
  std::string passphrase = {};
  /// What is spoken inside, the best first: {"h2", "http/1.1"}.  The choice is get_extra_info("alpn").  Source: RFC 7301.
  std::vector<std::string> alpn = {};
  TlsVersion minimum_version = TlsVersion::tls_1_2;

  /// Whoever answers is believed: the connection is encrypted, perhaps to an attacker.
  bool danger_accept_any_certificate = false;
  /// The certificate has to be trusted, but may be anybody's.
  bool danger_accept_any_host_name = false;
  /// The end of the connection is taken for the end of the data, although anybody may have cut it off there.
  bool danger_accept_truncation = false;
};

/// Whether a server asks its clients for certificates.
enum class ClientCertificate : std::uint8_t {
  none,
  optional,  ///< One that is shown has to be valid.
  required,
};

class SslContext;

struct SslServerOptions {
  /// Of the key.
  std::string passphrase = {};
  ClientCertificate client_certificate = ClientCertificate::none;
  /// Who may have signed those; not the system's, which sign for servers.
  std::string client_ca_file = {};
  std::string client_crl_file = {};
  /// What may be spoken inside, the best first.  A client that offers other things only is refused, and told so.
  std::vector<std::string> alpn = {};
  TlsVersion minimum_version = TlsVersion::tls_1_2;
  /// Asked with the name that a client wants to reach, empty if it does not say: a server context to use for it, or none
  /// to go on with this one.  If it throws, the client is refused as one that asks for an unknown name.  It is called on the
  /// thread of the connection's loop, and must not park.
  /// Source: RFC 6066 section 3; Python's SSLContext.sni_callback.
  std::function<std::optional<SslContext>(const std::string& server_name)> sni_callback = {};

  /// As SslClientOptions::danger_accept_truncation.
  bool danger_accept_truncation = false;
};

/// A handle to what connections have in common; copies name the same.  It does not change, but for reload().
///
/// Always: TLS 1.2 or 1.3 with ciphers that keep past traffic secret when a key is lost; keys and signatures of at least
/// 112 bits, so neither RSA below 2048 nor SHA-1; no compression; no renegotiation.  A client verifies the chain, its
/// dates, and the name or address: a subjectAltName has to hold it, a common name does not count, and a wildcard is a whole
/// first label.  Sessions are resumed: a client remembers them for each name and port, a server gives tickets.
/// Thread: any; connections of several loops may share one.
/// Source: asyncio's ssl.SSLContext; RFC 8446, RFC 6125, RFC 7525.
class SslContext {
 public:
  /// Throws: SslError - a file cannot be read or makes no sense, the key does not fit the certificate or is too weak, the
  /// own certificate is not valid today; what() names the file.  std::invalid_argument - an option makes no sense.
  static SslContext client(const SslClientOptions& options = {});
  /// `chain_file` has the certificate and the intermediate ones behind it; `key_file` may be the same.
  /// Throws: as client().
  static SslContext server(const std::string& chain_file, const std::string& key_file,
                           const SslServerOptions& options = {});

  bool is_server() const noexcept;
  /// Reads all files again.  Connections that stand keep what they have; sessions that they began are not resumed.
  /// Throws: as client(); then everything stays as it was.
  void reload();

  friend bool operator==(const SslContext&, const SslContext&) noexcept = default;

  explicit SslContext(std::shared_ptr<detail::SslContextState> state) noexcept : state_(std::move(state)) {}
  const std::shared_ptr<detail::SslContextState>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<detail::SslContextState> state_;
};

}  // namespace tulp
