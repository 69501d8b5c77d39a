#include "ssl/certificate.hpp"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <new>

namespace tulp {
namespace detail {
namespace {

BioPtr memory_bio() {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr) throw std::bad_alloc();
  return bio;
}

std::string contents(BIO& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(&bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::chrono::system_clock::time_point to_time(const ASN1_TIME& time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(&time, &parts) != 1) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

std::string to_hexadecimal(const ASN1_INTEGER& number) {
  const std::unique_ptr<BIGNUM, FreeWith<BN_free>> value(ASN1_INTEGER_to_BN(&number, nullptr));
  char* digits = value != nullptr ? BN_bn2hex(value.get()) : nullptr;
  std::string text = digits != nullptr ? digits : "";
  OPENSSL_free(digits);
  return text;
}

std::string to_string(const ASN1_STRING& string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(&string)),
          static_cast<std::size_t>(ASN1_STRING_length(&string))};
}

std::string to_ip_address(const ASN1_OCTET_STRING& bytes) {
  char text[INET6_ADDRSTRLEN] = "";
  const int size = ASN1_STRING_length(&bytes);
  if (size == 4 || size == 16)
    ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(&bytes), text, sizeof text);
  return text;
}

}  // namespace

std::string to_string(const X509_NAME& name) {
  const BioPtr bio = memory_bio();
  X509_NAME_print_ex(bio.get(), &name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  return contents(*bio);
}

void list_subjects(const X509& certificate, std::vector<std::string>& dns_names,
                   std::vector<std::string>& ip_addresses) {
  const std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) dns_names.push_back(to_string(*name->d.dNSName));
    if (name->type == GEN_IPADD) ip_addresses.push_back(to_ip_address(*name->d.iPAddress));
  }
}

Certificate to_certificate(const X509& x509) {
  Certificate certificate;
  certificate.subject = to_string(*X509_get_subject_name(&x509));
  certificate.issuer = to_string(*X509_get_issuer_name(&x509));
  certificate.serial_number = to_hexadecimal(*X509_get0_serialNumber(&x509));
  certificate.not_before = to_time(*X509_get0_notBefore(&x509));
  certificate.not_after = to_time(*X509_get0_notAfter(&x509));
  list_subjects(x509, certificate.dns_names, certificate.ip_addresses);
  unsigned char* der = nullptr;
  const int size = i2d_X509(&x509, &der);
  if (size > 0) certificate.der.assign(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  ERR_clear_error();
  return certificate;
}

}  // namespace detail

std::string Certificate::pem() const {
  using namespace detail;
  const BioPtr bio = memory_bio();
  PEM_write_bio(bio.get(), PEM_STRING_X509, "", reinterpret_cast<const unsigned char*>(der.data()),
                static_cast<long>(der.size()));
  return contents(*bio);
}

}  // namespace tulp
