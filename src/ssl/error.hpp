// OpenSSL's errors as exceptions.  Floor 6, ssl.
//
// Its queue of errors belongs to the thread, and so to all fibers on it: whoever calls OpenSSL clears the queue before, and
// takes what is in it before anything else can run.
#pragma once
#include <openssl/err.h>
#include <tulp/error.hpp>

#include <exception>
#include <string>

namespace tulp::detail {

/// What ended an engine.
struct SslFailure {
  int code = 0;             // of ssl_category()
  long verify_result = 0;   // X509_V_ERR_*, if it was the certificate
  std::string explanation;  // then what is wrong with it; else more than the code says, or nothing

  /// An SslError or SslCertificateError; `operation` as in "TLS handshake with 127.0.0.1:443".
  std::exception_ptr to_exception(const std::string& operation) const;
};

/// Empties this thread's queue; the error that came first, which is the cause of the others, or 0.
int take_ssl_error() noexcept;
inline int reason_of(int code) noexcept { return ERR_GET_REASON(static_cast<unsigned>(code)); }

}  // namespace tulp::detail
