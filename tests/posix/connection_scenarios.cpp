// Connecting and accepting.
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "posix/ends.hpp"
#include "posix/stage.hpp"

namespace tulp::test {
namespace {

constexpr int limit = 60;  // ms

Fd tcp_socket() { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
Fd unix_socket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

bool is_non_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }

void connections(Stage& s) {
  const Fd server = listener();
  Loopback address(server);
  Loopback peer;
  auto acceptor = s.start([&] {
    for (int i = 0; i < 2; ++i) {
      peer.size = sizeof peer.address;
      const Fd accepted(s.calls.accept(server, peer.get(), &peer.size));
      s.calls.write(accepted, "hello", 5);
    }
  });
  const Fd client = tcp_socket();
  char into[8];
  s.pause(20);
  s.see("connect", [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see("read", [&] { return s.calls.read(client, into, sizeof into); });
  s.see("connect again", [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see("blocks as before", [&] { return is_non_blocking(client) ? 1 : 0; });
  const Fd other = tcp_socket();
  s.see("another one", [&] { return s.calls.connect(other, address.get(), address.size); });
  acceptor->join();
  s.note(Loopback(other).address.sin_port == peer.address.sin_port ? "from it" : "from somebody");
  s.see("the listener blocks as before", [&] { return is_non_blocking(server) ? 1 : 0; });
  s.see("a part of the address", [&] {
    Fd third = tcp_socket();
    must(::connect(third, address.get(), address.size) == 0, "connect");
    socklen_t size = 2;
    sockaddr_in part{};
    const Fd accepted(s.calls.accept4(server, reinterpret_cast<sockaddr*>(&part), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    return is_non_blocking(accepted) ? static_cast<int>(size) : -1;
  });
}

void refusals(Stage& s) {
  Loopback nobody;
  {
    const Fd server = listener();
    nobody = Loopback(server);
  }
  const Fd client = tcp_socket();
  s.see("connect to nobody", [&] { return s.calls.connect(client, nobody.get(), nobody.size); });
  s.see("once more", [&] { return s.calls.connect(client, nobody.get(), nobody.size); });
  const Fd server = listener();
  Loopback somebody(server);
  s.see("then to somebody", [&] { return s.calls.connect(client, somebody.get(), somebody.size); });
  sockaddr_un missing{};
  missing.sun_family = AF_UNIX;
  std::strcpy(missing.sun_path, "/tmp/tulp-is-not-there");
  const Fd unix_client = unix_socket();
  const auto* unix_address = reinterpret_cast<const sockaddr*>(&missing);
  s.see("to no file", [&] { return s.calls.connect(unix_client, unix_address, sizeof missing); });
  s.see("of another family", [&] { return s.calls.connect(tcp_socket(), unix_address, sizeof missing); });
  s.see("of no size", [&] { return s.calls.connect(tcp_socket(), somebody.get(), 2); });
  s.see("of a pipe", [&] { return s.calls.connect(pipe_pair().a, somebody.get(), somebody.size); });
  s.see("of nothing", [&] { return s.calls.connect(-1, somebody.get(), somebody.size); });
  s.see("accept of a socket that does not listen", [&] { return s.calls.accept(tcp_socket(), nullptr, nullptr); });
  s.see("accept of a connection", [&] { return s.calls.accept(client, nullptr, nullptr); });
  s.see("accept of a pipe", [&] { return s.calls.accept(pipe_pair().a, nullptr, nullptr); });
  s.see("accept of nothing", [&] { return s.calls.accept(-1, nullptr, nullptr); });
  s.see("accept with flags that are none", [&] { return s.calls.accept4(server, nullptr, nullptr, 1); });
}

void what_does_not_wait(Stage& s) {
  const Fd server = listener();
  set_non_blocking(server);
  s.see("accept", [&] { return s.calls.accept(server, nullptr, nullptr); });
  Loopback address(server);
  const Fd client = tcp_socket();
  set_non_blocking(client);
  s.see("connect", [&] { return s.calls.connect(client, address.get(), address.size); });
  pollfd connecting{client, POLLOUT, 0};
  s.see("poll", [&] { return s.calls.poll(&connecting, 1, 1000); });
  s.see("the same again", [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see("and again", [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see("accept of one", [&] { return Fd(s.calls.accept(server, nullptr, nullptr)) >= 0 ? 0 : -1; });
  s.see("flags", [&] { return is_non_blocking(server) && is_non_blocking(client) ? 1 : 0; });
}

void limits(Stage& s) {
  const Fd server = listener();
  set_limit(server, SO_RCVTIMEO, limit);
  s.see_wait("accept", limit, [&] { return s.calls.accept(server, nullptr, nullptr); });
  const Fd busy = listener(0);
  Loopback address(busy);
  std::array<Fd, 4> fillers;
  for (Fd& filler : fillers) {  // the kernel takes one more than it was told
    filler.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ::connect(filler, address.get(), address.size);
  }
  s.pause(20);
  const Fd client = tcp_socket();
  set_limit(client, SO_SNDTIMEO, limit);
  s.see_wait("connect", limit, [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see_wait("and again", limit, [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see("flags", [&] { return is_non_blocking(client) ? 1 : 0; });
}

void full_unix_server(Stage& s) {
  const Fd server = unix_socket();
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  must(::bind(server, address, sizeof(sa_family_t)) == 0, "bind");
  socklen_t size = sizeof name;
  must(::getsockname(server, address, &size) == 0, "getsockname");
  must(::listen(server, 0) == 0, "listen");
  const Fd first = unix_socket(), second = unix_socket(), third = unix_socket();
  s.see("there is room for one", [&] { return s.calls.connect(first, address, size); });
  set_limit(second, SO_SNDTIMEO, limit);
  s.see_wait("not for another", limit, [&] { return s.calls.connect(second, address, size); });
  set_non_blocking(second);
  s.see("which need not wait", [&] { return s.calls.connect(second, address, size); });
  auto acceptor = s.start([&] {
    s.pause(30);
    const Fd accepted(s.calls.accept(server, nullptr, nullptr));
  });
  s.see("until it is accepted", [&] { return s.calls.connect(third, address, size); });
  acceptor->join();
}

void several_acceptors(Stage& s) {
  const Fd server = listener();
  Loopback address(server);
  constexpr int count = 4;
  std::array<std::unique_ptr<Flow>, count> acceptors;
  std::array<int, count> accepted{};
  for (int i = 0; i < count; ++i)
    acceptors[static_cast<std::size_t>(i)] = s.start([&, i] {
      const Fd connection(s.calls.accept(server, nullptr, nullptr));
      accepted[static_cast<std::size_t>(i)] = connection >= 0 ? 1 : 0;
    });
  for (int i = 0; i < count; ++i) {
    s.pause(5);
    const Fd client = tcp_socket();
    s.calls.connect(client, address.get(), address.size);
  }
  for (auto& acceptor : acceptors) acceptor->join();
  s.note(std::to_string(accepted[0] + accepted[1] + accepted[2] + accepted[3]) + " accepted");
}

/// What is sent before the connection stands waits for it.
void a_connection_in_progress(Stage& s) {
  const Fd server = listener();
  Loopback address(server);
  const Fd client = tcp_socket();
  set_non_blocking(client);
  s.calls.connect(client, address.get(), address.size);
  ::fcntl(client, F_SETFL, 0);
  s.see("connect that goes on", [&] { return s.calls.connect(client, address.get(), address.size); });
  s.see("send", [&] { return s.calls.send(client, "x", 1, 0); });
  s.see("shutdown", [&] { return ::shutdown(server, SHUT_RDWR); });
  auto stopper = s.start([&] { s.pause(1); });
  stopper->join();
}

/// How servers are stopped whose acceptor waits.
void a_listener_is_shut_down(Stage& s) {
  const Fd server = listener();
  auto stopper = s.start([&] {
    s.pause(20);
    ::shutdown(server, SHUT_RDWR);
  });
  s.see("accept", [&] { return s.calls.accept(server, nullptr, nullptr); });
  stopper->join();
}

void a_connection_is_shut_down(Stage& s) {
  const Ends ends = tcp_pair();
  char into[4];
  auto stopper = s.start([&] {
    s.pause(20);
    ::shutdown(ends.a, SHUT_RDWR);
  });
  s.see("read", [&] { return s.calls.read(ends.a, into, sizeof into); });
  stopper->join();
  s.see("send", [&] { return s.calls.send(ends.a, "x", 1, MSG_NOSIGNAL); });
}

}  // namespace

const Scenarios& connection_scenarios() {
  static const Scenarios all = {
      {"connections", connections},
      {"refusals", refusals},
      {"what_does_not_wait", what_does_not_wait},
      {"limits", limits},
      {"full_unix_server", full_unix_server},
      {"several_acceptors", several_acceptors},
      {"a_connection_in_progress", a_connection_in_progress},
      {"a_listener_is_shut_down", a_listener_is_shut_down},
      {"a_connection_is_shut_down", a_connection_is_shut_down},
  };
  return all;
}

}  // namespace tulp::test
