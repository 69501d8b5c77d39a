// Pairs of descriptors for the scenarios, closed at their end.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace tulp::test {

inline void must(bool is_true, const char* what) {
  if (is_true) return;
  std::perror(what);
  std::abort();
}

/// A descriptor; closed by libc.
struct Fd {
  Fd() = default;
  explicit Fd(int number) : fd(number) { must(fd >= 0, "descriptor"); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd(Fd&& other) noexcept : fd(other.fd) { other.fd = -1; }
  ~Fd() { close(); }
  void close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  operator int() const { return fd; }
  int fd = -1;
};

struct Ends {
  Fd a, b;
};

struct Loopback {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  Loopback() {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  explicit Loopback(int sock) { must(::getsockname(sock, get(), &size) == 0, "getsockname"); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&address); }
};

inline Fd listener(int backlog = 16) {
  Fd sock(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Loopback any;
  must(::bind(sock, any.get(), any.size) == 0, "bind");
  must(::listen(sock, backlog) == 0, "listen");
  return sock;
}

inline Ends tcp_pair() {
  const Fd server = listener();
  Loopback address(server);
  Ends ends;
  ends.a.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(::connect(ends.a, address.get(), address.size) == 0, "connect");
  ends.b.fd = ::accept4(server, nullptr, nullptr, SOCK_CLOEXEC);
  must(ends.b >= 0, "accept");
  return ends;
}
inline Ends unix_pair(int type = SOCK_STREAM) {
  int fds[2];
  must(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
  return {Fd(fds[0]), Fd(fds[1])};
}
/// a is read, b is written.
inline Ends pipe_pair() {
  int fds[2];
  must(::pipe2(fds, O_CLOEXEC) == 0, "pipe2");
  return {Fd(fds[0]), Fd(fds[1])};
}

inline void set_limit(int sock, int option, int milliseconds) {
  const timeval limit{milliseconds / 1000, (milliseconds % 1000) * 1000};
  must(::setsockopt(sock, SOL_SOCKET, option, &limit, sizeof limit) == 0, "setsockopt");
}
inline void set_non_blocking(int fd) { must(::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0, "fcntl"); }
inline void reset(Fd& sock) {
  const linger now{1, 0};
  ::setsockopt(sock, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  sock.close();
}

}  // namespace tulp::test
