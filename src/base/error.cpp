#include <netdb.h>
#include <tulp/error.hpp>

#include "base/code_address.hpp"

namespace tulp {
namespace {

class ResolveCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int gai_error) const override { return ::gai_strerror(gai_error); }
};

/// Calls `use` with the kind of OsError that `error_number` has.
template <class Use>
auto with_kind(int error_number, const std::string& what, Use use) {
  switch (error_number) {
    case ECONNREFUSED: return use(ConnectionRefusedError(error_number, what));
    case ECONNRESET: return use(ConnectionResetError(error_number, what));
    case ECONNABORTED: return use(ConnectionAbortedError(error_number, what));
    case EPIPE:
    case ESHUTDOWN: return use(BrokenPipeError(error_number, what));
    default: return use(OsError(error_number, what));
  }
}

std::string incomplete(std::size_t partial, std::size_t expected) {
  std::string text = "the stream ended after " + std::to_string(partial) + " bytes";
  return expected == 0 ? text : text + " of " + std::to_string(expected);
}

}  // namespace

std::exception_ptr make_os_error(int error_number, const std::string& what) {
  return with_kind(error_number, what, [](auto error) { return std::make_exception_ptr(std::move(error)); });
}

void throw_os_error(int error_number, const std::string& what) {
  with_kind(error_number, what, [](auto error) { throw error; });
  __builtin_unreachable();
}

const std::error_category& resolve_category() noexcept {
  static const ResolveCategory category;
  return category;
}

std::string CancelledError::place() const {
  return asked_at_ != nullptr ? describe_code_address(asked_at_) : std::string();
}

std::string FutureCancelledError::place() const { return CancelledError({}, asked_at_).place(); }

ResolveError::ResolveError(int gai_error, const std::string& what)
    : std::system_error(gai_error, resolve_category(), what) {}

IncompleteReadError::IncompleteReadError(std::string partial, std::size_t expected)
    : std::runtime_error(incomplete(partial.size(), expected)), partial_(std::move(partial)), expected_(expected) {}

namespace {

std::string list(const std::string& message, const std::vector<std::exception_ptr>& exceptions) {
  if (exceptions.empty()) throw std::invalid_argument("ExceptionGroup: no exceptions");
  std::string text = message + " (" + std::to_string(exceptions.size()) + "): ";
  for (std::size_t i = 0; i < exceptions.size(); ++i) text += (i == 0 ? "" : "; ") + describe(exceptions[i]);
  return text;
}

}  // namespace

ExceptionGroup::ExceptionGroup(const std::string& message, std::vector<std::exception_ptr> exceptions,
                               std::vector<std::shared_ptr<const ThrowTrace>> traces)
    : std::runtime_error(list(message, exceptions)),
      content_(std::make_shared<const Content>(Content{std::move(exceptions), std::move(traces)})) {}

std::string describe(const std::exception_ptr& error) {
  if (!error) return "no error";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const CancelledError& e) {
    return e.message().empty() ? "cancelled" : "cancelled: " + e.message();
  } catch (const KeyboardInterrupt&) {
    return "interrupted";
  } catch (...) {
    return "an exception that is not a std::exception";
  }
}

}  // namespace tulp
