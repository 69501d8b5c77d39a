#include <tulp/error.hpp>
#include <tulp/server.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/net.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// The environment in which a service manager starts a service, in a child whose descriptors from 3 on are free.
template <class Check>
bool holds_in_service(const std::string& pid, const char* count, int sockets, Check check) {
  const auto child = run_in_child([&] {
    for (int fd = 3; fd < 64; ++fd) ::close(fd);
    for (int i = 0; i < sockets; ++i) ::socket(AF_INET, SOCK_STREAM, 0);
    ::setenv("LISTEN_PID", (pid == "own" ? std::to_string(::getpid()) : pid).c_str(), 1);
    if (count != nullptr) ::setenv("LISTEN_FDS", count, 1);
    ::_exit(check() ? 0 : 1);
  });
  return child.exited_with(0);
}

template <class Error>
bool throws() {
  try {
    inherited_sockets();
    return false;
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

TEST_CASE("without a service manager there are no inherited sockets") {
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  CHECK(inherited_sockets().empty());
}

TEST_CASE("inherited sockets are those from 3 on, close-on-exec, however often they are asked for") {
  CHECK(holds_in_service("own", "2", 2, [] {
    const bool is_inheritable = (::fcntl(3, F_GETFD) & FD_CLOEXEC) == 0;
    return is_inheritable && inherited_sockets() == std::vector<int>{3, 4} &&
           inherited_sockets() == std::vector<int>{3, 4} && (::fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 &&
           (::fcntl(4, F_GETFD) & FD_CLOEXEC) != 0;
  }));
}

TEST_CASE("sockets that were meant for another process are none of ours") {
  CHECK(holds_in_service("1", "2", 2, [] { return inherited_sockets().empty(); }));
}

TEST_CASE("an announced socket that is not there is an OsError") {
  CHECK(holds_in_service("own", "2", 1, [] { return throws<OsError>(); }));
}

TEST_CASE("an environment that makes no sense is said so") {
  CHECK(holds_in_service("own", "two", 2, [] { return throws<std::invalid_argument>(); }));
  CHECK(holds_in_service("own", "-1", 2, [] { return throws<std::invalid_argument>(); }));
  CHECK(holds_in_service("4x", "2", 2, [] { return throws<std::invalid_argument>(); }));
  CHECK(holds_in_service("own", nullptr, 2, [] { return inherited_sockets().empty(); }));
}
