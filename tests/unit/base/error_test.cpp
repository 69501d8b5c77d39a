#include <tulp/error.hpp>

#include <netdb.h>

#include <cerrno>

#include "support/catch.hpp"

using namespace tulp;

static_assert(!std::is_base_of_v<std::exception, KeyboardInterrupt>);
static_assert(std::is_base_of_v<std::system_error, ResolveError>);
static_assert(std::is_base_of_v<std::logic_error, InvalidStateError>);

TEST_CASE("an OsError names operation, object and reason, and keeps errno") {
  const OsError error(ENOENT, "open /no/such/file");
  CHECK(std::string(error.what()) == "open /no/such/file: No such file or directory");
  CHECK(error.code().value() == ENOENT);
  CHECK(error.code() == std::errc::no_such_file_or_directory);
}

TEST_CASE("errno chooses the kind of OsError, whether thrown or stored") {
  const auto check = [](int number, auto kind_tag) {
    using Kind = typename decltype(kind_tag)::type;
    CHECK_THROWS_AS(throw_os_error(number, "connect"), Kind);
    CHECK_THROWS_AS(std::rethrow_exception(make_os_error(number, "connect")), Kind);
  };
  check(ECONNREFUSED, std::type_identity<ConnectionRefusedError>());
  check(ECONNRESET, std::type_identity<ConnectionResetError>());
  check(ECONNABORTED, std::type_identity<ConnectionAbortedError>());
  check(EPIPE, std::type_identity<BrokenPipeError>());
  check(ESHUTDOWN, std::type_identity<BrokenPipeError>());
  check(ETIMEDOUT, std::type_identity<OsError>());
  try {
    throw_os_error(ETIMEDOUT, "connect");
  } catch (const ConnectionError&) {
    FAIL("a time-out is no ConnectionError");
  } catch (const OsError& error) {
    CHECK(error.code().value() == ETIMEDOUT);
  }
}

TEST_CASE("a ResolveError is in the getaddrinfo category") {
  const ResolveError error(EAI_NONAME, "resolving nowhere.invalid");
  CHECK(error.code().category() == resolve_category());
  CHECK_THAT(error.what(), Catch::Contains("nowhere.invalid") && Catch::Contains(::gai_strerror(EAI_NONAME)));
}

TEST_CASE("an IncompleteReadError keeps what had come, and says how much was expected") {
  const IncompleteReadError error("abc", 10);
  CHECK(error.partial() == "abc");
  CHECK(error.expected() == 10);
  CHECK_THAT(error.what(), Catch::Contains("3 bytes of 10"));
}

TEST_CASE("describe says in one line what an exception is, whatever it is") {
  CHECK(describe(nullptr) == "no error");
  CHECK(describe(std::make_exception_ptr(std::runtime_error("boom"))) == "boom");
  CHECK(describe(std::make_exception_ptr(CancelledError())) == "cancelled");
  CHECK(describe(std::make_exception_ptr(CancelledError("enough"))) == "cancelled: enough");
  CHECK(describe(std::make_exception_ptr(KeyboardInterrupt())) == "interrupted");
  CHECK_FALSE(describe(std::make_exception_ptr(42)).empty());
}
