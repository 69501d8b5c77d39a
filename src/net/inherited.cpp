#include <fcntl.h>
#include <unistd.h>
#include <tulp/server.hpp>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <tulp/error.hpp>

#include "base/sys.hpp"

namespace tulp {
namespace {

constexpr int first_descriptor = 3;

/// A variable that is a number; 0 if it is not set.
int number_in(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr) return 0;
  const std::string text = value;
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number <= 0)
    throw std::invalid_argument(std::string(variable) + "=" + text + " makes no sense");
  return number;
}

}  // namespace

std::vector<int> inherited_sockets() {
  std::vector<int> sockets;
  if (number_in("LISTEN_PID") != ::getpid()) return sockets;  // they were our parent's
  const int count = number_in("LISTEN_FDS");
  for (int socket = first_descriptor; socket - first_descriptor < count; ++socket) {
    if (sys.fcntl(socket, F_SETFD, FD_CLOEXEC) != 0)
      throw_os_error(errno, "inherited descriptor " + std::to_string(socket));
    sockets.push_back(socket);
  }
  return sockets;
}

}  // namespace tulp
