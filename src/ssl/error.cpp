#include "ssl/error.hpp"

#include <openssl/sslerr.h>

#include <system_error>
#include <utility>

namespace tulp {
namespace {

class SslCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "ssl"; }
  std::string message(int code) const override {
    const unsigned long packed = static_cast<unsigned>(code);
    if (ERR_SYSTEM_ERROR(packed)) return std::generic_category().message(ERR_GET_REASON(packed));
    const char* reason = ERR_reason_error_string(packed);
    return reason != nullptr ? reason : "unknown TLS error " + std::to_string(packed);
  }
};

}  // namespace

const std::error_category& ssl_category() noexcept {
  static const SslCategory category;
  return category;
}

SslError::SslError(int code, const std::string& what) : std::system_error(code, ssl_category(), what) {}

SslCertificateError::SslCertificateError(long verify_result, std::string verify_message, const std::string& what)
    : SslError(ERR_PACK(ERR_LIB_SSL, 0, SSL_R_CERTIFICATE_VERIFY_FAILED), what),
      verify_result_(verify_result),
      verify_message_(std::move(verify_message)),
      what_(std::string(SslError::what()) + ": " + verify_message_) {}

namespace detail {

std::exception_ptr SslFailure::to_exception(const std::string& operation) const {
  if (verify_result != 0) return std::make_exception_ptr(SslCertificateError(verify_result, explanation, operation));
  return std::make_exception_ptr(SslError(code, explanation.empty() ? operation : operation + ": " + explanation));
}

int take_ssl_error() noexcept {
  const unsigned long first = ERR_get_error();
  ERR_clear_error();
  return static_cast<int>(first);
}

}  // namespace detail
}  // namespace tulp
