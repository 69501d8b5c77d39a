// Throw-away authorities and certificates, good and bad ones, made in the process.
#pragma once
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace tulp::test {

/// A key and what an authority says of it.
struct Identity {
  std::string certificate_pem;
  std::string key_pem;
  std::string chain_pem;  // the intermediate ones, if there are any

  std::string chain() const { return certificate_pem + chain_pem; }
};

/// What a certificate says, right or wrong.
struct Claims {
  std::string common_name = "a test";
  std::vector<std::string> dns_names = {};
  std::vector<std::string> ip_addresses = {};
  int valid_from_days = -1;  // from today
  int valid_to_days = 30;
  std::string purposes = "serverAuth,clientAuth";
  bool is_authority = false;
  int rsa_bits = 0;  // 0: an elliptic curve of 256 bits
  const char* digest = "SHA256";
  std::size_t padding_bytes = 0;  // makes it so much longer
};

namespace pki {

template <class T>
T* check(T* made) {
  if (made == nullptr) throw std::runtime_error("OpenSSL cannot make that");
  return made;
}

struct Free {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
  void operator()(X509_CRL* list) const noexcept { X509_CRL_free(list); }
  void operator()(BIO* bio) const noexcept { BIO_free_all(bio); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using X509Owner = std::unique_ptr<X509, Free>;

/// What `write(bio)` writes.
template <class Write>
std::string to_pem(Write write) {
  const std::unique_ptr<BIO, Free> bio(check(BIO_new(BIO_s_mem())));
  write(bio.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

inline void add_extension(X509& certificate, X509& issuer, int nid, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = check(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  X509_add_ext(&certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

inline std::string alternative_names(const Claims& claims) {
  std::string names;
  for (const std::string& name : claims.dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  for (const std::string& address : claims.ip_addresses) names += (names.empty() ? "IP:" : ",IP:") + address;
  return names;
}

}  // namespace pki

/// Issues certificates, and takes them back.
class Authority {
 public:
  explicit Authority(const std::string& name = "Test Root") : Authority(name, nullptr, {}) {}
  /// Another one, which this one vouches for.
  Authority intermediate(const std::string& name, bool is_authority = true) const {
    return Authority(name, this, {.is_authority = is_authority});
  }

  Identity issue(const Claims& claims) const {
    const pki::Key key = make_key(claims);
    const pki::X509Owner certificate = make(claims, *key, certificate_.get(), key_.get());
    return {to_pem(*certificate), to_pem(*key), chain_pem_};
  }
  /// One that vouches for itself.
  static Identity self_signed(const Claims& claims) {
    const pki::Key key = make_key(claims);
    const pki::X509Owner certificate = make(claims, *key, nullptr, key.get());
    return {to_pem(*certificate), to_pem(*key), {}};
  }

  std::string certificate_pem() const { return to_pem(*certificate_); }
  /// A list of these, which is all that have been revoked.
  std::string revocation_list(const std::vector<Identity>& revoked) const {
    const std::unique_ptr<X509_CRL, pki::Free> list(pki::check(X509_CRL_new()));
    X509_CRL_set_version(list.get(), 1);
    X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(certificate_.get()));
    ASN1_TIME* time = ASN1_TIME_new();
    X509_CRL_set1_lastUpdate(list.get(), X509_gmtime_adj(time, -3600));
    X509_CRL_set1_nextUpdate(list.get(), X509_gmtime_adj(time, 30L * 24 * 3600));
    for (const Identity& identity : revoked) {
      const pki::X509Owner certificate = from_pem(identity.certificate_pem);
      X509_REVOKED* entry = pki::check(X509_REVOKED_new());
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get()));
      X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(time, -60));
      X509_CRL_add0_revoked(list.get(), entry);
    }
    ASN1_TIME_free(time);
    X509_CRL_sort(list.get());
    X509_CRL_sign(list.get(), key_.get(), EVP_sha256());
    return pki::to_pem([&](BIO* bio) { PEM_write_bio_X509_CRL(bio, list.get()); });
  }

  static std::string encrypt_key(const Identity& identity, const std::string& passphrase) {
    const std::unique_ptr<BIO, pki::Free> bio(
        BIO_new_mem_buf(identity.key_pem.data(), static_cast<int>(identity.key_pem.size())));
    const pki::Key key(pki::check(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr)));
    return pki::to_pem([&](BIO* out) {
      PEM_write_bio_PKCS8PrivateKey(out, key.get(), EVP_aes_128_cbc(), passphrase.data(),
                                    static_cast<int>(passphrase.size()), nullptr, nullptr);
    });
  }

 private:
  Authority(const std::string& name, const Authority* issuer, Claims claims) {
    claims.common_name = name;
    claims.purposes.clear();
    if (issuer == nullptr) claims.is_authority = true;
    key_ = make_key(claims);
    certificate_ = make(claims, *key_, issuer != nullptr ? issuer->certificate_.get() : nullptr,
                        issuer != nullptr ? issuer->key_.get() : key_.get());
    if (issuer != nullptr) chain_pem_ = to_pem(*certificate_) + issuer->chain_pem_;
  }

  static pki::Key make_key(const Claims& claims) {
    if (claims.rsa_bits > 0) return pki::Key(pki::check(EVP_RSA_gen(static_cast<unsigned>(claims.rsa_bits))));
    return pki::Key(pki::check(EVP_EC_gen("P-256")));
  }

  static pki::X509Owner make(const Claims& claims, EVP_PKEY& key, X509* issuer, EVP_PKEY* issuer_key) {
    static std::atomic<long> last_serial_number = 1000;
    pki::X509Owner certificate(pki::check(X509_new()));
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++last_serial_number);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), claims.valid_from_days * 24L * 3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), claims.valid_to_days * 24L * 3600);
    X509_NAME* name = X509_get_subject_name(certificate.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(claims.common_name.c_str()), -1, -1, 0);
    if (issuer == nullptr) issuer = certificate.get();
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer));
    X509_set_pubkey(certificate.get(), &key);
    const auto add = [&](int nid, const std::string& value) { pki::add_extension(*certificate, *issuer, nid, value); };
    add(NID_basic_constraints, claims.is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add(NID_subject_key_identifier, "hash");
    if (issuer != certificate.get()) add(NID_authority_key_identifier, "keyid");
    if (claims.is_authority)
      add(NID_key_usage, "critical,keyCertSign,cRLSign");
    else
      add(NID_key_usage, "critical,digitalSignature,keyEncipherment");
    if (!claims.purposes.empty()) add(NID_ext_key_usage, claims.purposes);
    if (const std::string names = pki::alternative_names(claims); !names.empty()) add(NID_subject_alt_name, names);
    if (claims.padding_bytes > 0) add(NID_netscape_comment, std::string(claims.padding_bytes, 'x'));
    X509_sign(certificate.get(), issuer_key, EVP_get_digestbyname(claims.digest));
    return certificate;
  }

  static std::string to_pem(X509& certificate) {
    return pki::to_pem([&](BIO* bio) { PEM_write_bio_X509(bio, &certificate); });
  }
  static std::string to_pem(EVP_PKEY& key) {
    return pki::to_pem([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, &key, nullptr, nullptr, 0, nullptr, nullptr); });
  }
  static pki::X509Owner from_pem(const std::string& pem) {
    const std::unique_ptr<BIO, pki::Free> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    return pki::X509Owner(pki::check(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)));
  }

  pki::Key key_;
  pki::X509Owner certificate_;
  std::string chain_pem_;
};

/// Writes `text` into a file, and gives its name back.
inline std::string write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file) << text;
  return file.string();
}

}  // namespace tulp::test
