// A folder for the files of Unix sockets, and plain sockets to put into it.
#pragma once
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "support/folder.hpp"
#include "support/net.hpp"

namespace tulp::test {

inline bool exists(const std::string& path) {
  struct stat file {};
  return ::lstat(path.c_str(), &file) == 0;
}

inline sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

inline Peer connect_plainly(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = unix_address(path);
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return Peer(fd);
}

/// A bound Unix socket, which listens if `backlog` is not negative.  Its file stays when it is closed.
class PlainUnixSocket {
 public:
  explicit PlainUnixSocket(const std::string& path, int backlog = 10, int type = SOCK_STREAM)
      : fd_(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)) {
    const sockaddr_un address = unix_address(path);
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    if (backlog >= 0) REQUIRE(::listen(fd_, backlog) == 0);
  }
  PlainUnixSocket(const PlainUnixSocket&) = delete;
  PlainUnixSocket& operator=(const PlainUnixSocket&) = delete;
  ~PlainUnixSocket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  Peer accept() const { return Peer(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }

 private:
  int fd_;
};

}  // namespace tulp::test
