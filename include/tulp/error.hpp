// The exceptions that tulp throws.  Floor 1, base.
//
// Three kinds, three means.  The world failed: OsError and its kind, ResolveError, SslError, IncompleteReadError,
// TimeoutError.
// The caller erred: InvalidStateError or std::invalid_argument, always checked.  We erred: an assertion.
#pragma once
#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace tulp {

struct ThrowTrace;

/// Thrown by a park, and by nothing else, for a cancellation of the very task that parks.  Not a std::exception, so
/// that `catch (const std::exception&)` lets it pass: cleanup belongs into destructors.
/// Source: PEP 3156 "Futures" (CancelledError); outside std::exception as Python moved it in 3.8.
class CancelledError {
 public:
  /// `guard` is for the library: it hears of the end of the last copy.
  explicit CancelledError(std::string message = {}, const void* asked_at = nullptr,
                          std::shared_ptr<const void> guard = nullptr)
      : message_(std::move(message)), asked_at_(asked_at), guard_(std::move(guard)) {}
  /// What the caller of cancel() gave as the reason; may be empty.
  const std::string& message() const noexcept { return message_; }
  /// The return address of the call that asked for the cancellation; null if the library itself did, as for a time limit.
  const void* asked_at() const noexcept { return asked_at_; }
  /// The same in words: "crawl.cpp:12 (main)" where there is debug information; empty for null.  Slow: for reports.
  std::string place() const;

 private:
  std::string message_;
  const void* asked_at_;
  std::shared_ptr<const void> guard_;
};

/// What I asked or waited for was cancelled, not I.  Source: tulp only; asyncio cannot tell the two apart.
class FutureCancelledError : public std::runtime_error {
 public:
  explicit FutureCancelledError(const std::string& message = {}, const void* asked_at = nullptr)
      : std::runtime_error(message.empty() ? "the future was cancelled" : "the future was cancelled: " + message),
        asked_at_(asked_at) {}
  // As those of CancelledError.
  const void* asked_at() const noexcept { return asked_at_; }
  std::string place() const;

 private:
  const void* asked_at_;
};

/// The caller erred: the object is not in a state that allows the call.
class InvalidStateError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Ctrl-C ended run().  Not a std::exception, for the same reason as CancelledError.
class KeyboardInterrupt {};

/// A time limit ran out.
class TimeoutError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A system call failed.  what() names operation and object, as in "connect 127.0.0.1:80: Connection refused";
/// code() keeps errno.
class OsError : public std::system_error {
 public:
  OsError(int error_number, const std::string& what) : std::system_error(error_number, std::system_category(), what) {}
};

class ConnectionError : public OsError {
 public:
  using OsError::OsError;
};
class ConnectionRefusedError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};
class ConnectionResetError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};
class ConnectionAbortedError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};
class BrokenPipeError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

/// The OsError, or the kind of it that `error_number` has, for storing.
std::exception_ptr make_os_error(int error_number, const std::string& what);
/// Throws what make_os_error() makes.
[[noreturn]] void throw_os_error(int error_number, const std::string& what);

/// A host or service name that has no address.  code() is in the getaddrinfo category (EAI_*).
class ResolveError : public std::system_error {
 public:
  ResolveError(int gai_error, const std::string& what);
};
/// The category of getaddrinfo's EAI_* numbers.
const std::error_category& resolve_category() noexcept;

/// TLS failed: a handshake, a record, or the loading of a certificate.  code() is in ssl_category().
class SslError : public std::system_error {
 public:
  SslError(int code, const std::string& what);
};
/// The peer's certificate, or its lack of one, was not accepted.
class SslCertificateError : public SslError {
 public:
  /// `verify_message` is the reason.
  SslCertificateError(long verify_result, std::string verify_message, const std::string& what);
  const char* what() const noexcept override { return what_.c_str(); }
  /// X509_V_ERR_*, as in X509_STORE_CTX_get_error(3).
  long verify_result() const noexcept { return verify_result_; }
  /// Such as "certificate has expired".
  const std::string& verify_message() const noexcept { return verify_message_; }

 private:
  long verify_result_;
  std::string verify_message_;
  std::string what_;
};
/// The category of OpenSSL's error numbers, ERR_get_error(3).  Defined on floor 6, ssl.
const std::error_category& ssl_category() noexcept;

/// The stream ended before what was asked for had come.
class IncompleteReadError : public std::runtime_error {
 public:
  /// `expected` is 0 where the length was not known, as for readuntil().
  IncompleteReadError(std::string partial, std::size_t expected);
  /// What had come; it has been consumed.
  const std::string& partial() const noexcept { return partial_; }
  std::size_t expected() const noexcept { return expected_; }

 private:
  std::string partial_;
  std::size_t expected_;
};

/// No separator within the limit.  The data stay in the reader's buffer.
class LimitOverrunError : public std::runtime_error {
 public:
  LimitOverrunError(const std::string& what, std::size_t consumed) : std::runtime_error(what), consumed_(consumed) {}
  /// How many bytes a caller may read so as to get past what was searched.
  std::size_t consumed() const noexcept { return consumed_; }

 private:
  std::size_t consumed_;
};

/// get_nowait() of a queue that has nothing.
class QueueEmpty : public std::runtime_error {
 public:
  QueueEmpty() : std::runtime_error("the queue is empty") {}
};

/// put_nowait() of a queue that has no room.
class QueueFull : public std::runtime_error {
 public:
  QueueFull() : std::runtime_error("the queue is full") {}
};

/// The queue takes nothing any more, or has nothing left to give.
class QueueShutDown : public std::runtime_error {
 public:
  QueueShutDown() : std::runtime_error("the queue has been shut down") {}
};

/// The barrier that the task waited at, or came to, was aborted or reset.
class BrokenBarrierError : public std::runtime_error {
 public:
  BrokenBarrierError() : std::runtime_error("the barrier was aborted or reset") {}
};

/// Several failures at once: those of the tasks of a group.
/// Source: Python's ExceptionGroup (PEP 654).
class ExceptionGroup : public std::runtime_error {
 public:
  /// what() is `message` and what each of `exceptions` says.  `traces` say where those were thrown, as far as that is
  /// known.  Throws: std::invalid_argument - there are no exceptions.
  ExceptionGroup(const std::string& message, std::vector<std::exception_ptr> exceptions,
                 std::vector<std::shared_ptr<const ThrowTrace>> traces = {});

  const std::vector<std::exception_ptr>& exceptions() const noexcept { return content_->exceptions; }
  /// Of the `index`-th of them; null if it is not known.
  std::shared_ptr<const ThrowTrace> trace(std::size_t index) const noexcept {
    return index < content_->traces.size() ? content_->traces[index] : nullptr;
  }
  /// Calls `handle(error)` with each E among them, and in groups among them; how many there were.
  template <class E, class F>
  std::size_t visit(F&& handle) const {
    std::size_t count = 0;
    for (const std::exception_ptr& one : exceptions()) {
      try {
        std::rethrow_exception(one);
      } catch (const E& error) {
        handle(error);
        ++count;
      } catch (const ExceptionGroup& group) {
        count += group.visit<E>(handle);
      } catch (...) {
      }
    }
    return count;
  }

 private:
  struct Content {
    std::vector<std::exception_ptr> exceptions;
    std::vector<std::shared_ptr<const ThrowTrace>> traces;
  };
  std::shared_ptr<const Content> content_;  // so that copying the exception cannot throw
};

/// One line that says what `error` is: what() of a std::exception, a name for the others; "no error" for null.
std::string describe(const std::exception_ptr& error);

}  // namespace tulp
