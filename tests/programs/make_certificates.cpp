// Writes an authority of its own and certificates, good and bad ones, into a folder.
// usage: make_certificates FOLDER
//
// ca.pem           the authority that signed what is not said to be otherwise; other-ca.pem did not sign anything
// NAME.pem         a certificate, with the intermediate ones behind it
// NAME.key         its key
// revoked.crl      the authority's list, with revoked.pem in it
#include <cstdio>
#include <exception>
#include <filesystem>

#include "support/certificates.hpp"

namespace {

using tulp::test::Authority;
using tulp::test::Identity;
using tulp::test::write_file;

class Folder {
 public:
  explicit Folder(std::filesystem::path path) : path_(std::move(path)) { std::filesystem::create_directories(path_); }
  void write(const std::string& name, const std::string& text) const { write_file(path_ / name, text); }
  void write(const std::string& name, const Identity& identity) const {
    write(name + ".pem", identity.chain());
    write(name + ".key", identity.key_pem);
  }

 private:
  std::filesystem::path path_;
};

void fill(const Folder& folder) {
  const std::vector<std::string> names = {"localhost", "a.example"};
  const std::vector<std::string> addresses = {"127.0.0.1", "::1"};
  const Authority authority("Test Root");
  const Authority intermediate = authority.intermediate("Test Intermediate");
  const Authority no_authority = authority.intermediate("Not An Authority", false);
  folder.write("ca.pem", authority.certificate_pem());
  folder.write("other-ca.pem", Authority("Other Root").certificate_pem());

  const Identity good = authority.issue({.common_name = "localhost", .dns_names = names, .ip_addresses = addresses});
  folder.write("good", good);
  folder.write("good-encrypted.key", Authority::encrypt_key(good, "open sesame"));
  folder.write("chain", intermediate.issue({.dns_names = names, .ip_addresses = addresses}));
  Identity incomplete = intermediate.issue({.dns_names = names, .ip_addresses = addresses});
  incomplete.chain_pem.clear();
  folder.write("incomplete", incomplete);
  folder.write("not-by-authority", no_authority.issue({.dns_names = names, .ip_addresses = addresses}));
  folder.write("rsa", authority.issue({.dns_names = names, .ip_addresses = addresses, .rsa_bits = 2048}));
  folder.write("client", authority.issue({.common_name = "client", .purposes = "clientAuth"}));
  folder.write(
      "expired",
      authority.issue({.dns_names = names, .ip_addresses = addresses, .valid_from_days = -30, .valid_to_days = -1}));
  folder.write(
      "not-yet-valid",
      authority.issue({.dns_names = names, .ip_addresses = addresses, .valid_from_days = 1, .valid_to_days = 30}));
  folder.write("expired-client",
               authority.issue({.common_name = "client", .valid_from_days = -30, .valid_to_days = -1}));
  folder.write("self-signed", Authority::self_signed({.dns_names = names, .ip_addresses = addresses}));
  folder.write("unknown-root", Authority("Other Root").issue({.dns_names = names, .ip_addresses = addresses}));
  folder.write("wrong-host", authority.issue({.dns_names = {"wrong.example"}}));
  folder.write("wildcard", authority.issue({.dns_names = {"*.a.example"}}));
  folder.write("common-name-only", authority.issue({.common_name = "localhost"}));
  folder.write("address-as-name", authority.issue({.dns_names = {"127.0.0.1"}}));
  folder.write("for-clients",
               authority.issue({.dns_names = names, .ip_addresses = addresses, .purposes = "clientAuth"}));
  folder.write("weak-key", authority.issue({.dns_names = names, .ip_addresses = addresses, .rsa_bits = 1024}));
  folder.write("sha1", authority.issue({.dns_names = names, .ip_addresses = addresses, .digest = "SHA1"}));
  const Identity revoked = authority.issue({.dns_names = names, .ip_addresses = addresses});
  folder.write("revoked", revoked);
  folder.write("revoked.crl", authority.revocation_list({revoked}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_certificates FOLDER\n", stderr);
    return 2;
  }
  try {
    fill(Folder(argv[1]));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_certificates: %s\n", error.what());
    return 1;
  }
}
