// Certificates out of OpenSSL's.  Floor 6, ssl.
#pragma once
#include <tulp/certificate.hpp>

#include <string>
#include <vector>

#include "ssl/openssl.hpp"

namespace tulp::detail {

/// Throws: std::bad_alloc.
Certificate to_certificate(const X509& certificate);
/// The distinguished name as RFC 4514 has it.
std::string to_string(const X509_NAME& name);
/// The names and addresses of its subjectAltName.
void list_subjects(const X509& certificate, std::vector<std::string>& dns_names,
                   std::vector<std::string>& ip_addresses);

}  // namespace tulp::detail
