// Server: listening sockets.  Floor 6, transports.
#pragma once
#include <tulp/address.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace tulp {

struct ServerOptions {
  /// AF_INET or AF_INET6; AF_UNSPEC takes what the host has.
  int family = 0;
  /// How many connections may wait to be accepted.
  int backlog = 100;
  bool reuse_address = true;
  /// Lets several sockets share the port; the kernel spreads the connections over them.
  bool reuse_port = false;
  /// For streams: the longest line or record that readline() and readuntil() accept.
  std::size_t limit_bytes = 64 * 1024;
};

namespace detail {
class Listener;
}

/// A handle to listening sockets; copies name the same ones.  The loop owns them until close(): dropping the handle
/// changes nothing.  Source: PEP 3156 "Servers"; asyncio.Server.
class Server {
 public:
  explicit Server(std::shared_ptr<detail::Listener> listener) : listener_(std::move(listener)) {}

  /// Stops accepting.  Connections that stand go on.  May be called twice.
  void close();
  bool is_serving() const noexcept;
  /// The addresses that were bound, with the ports that were chosen for port 0.
  std::vector<Address> addresses() const;
  /// The port of the first of them.
  std::uint16_t port() const { return addresses().front().port(); }

  /// Parks: until the server is closed and its last connection is gone.
  void wait_closed();
  /// Parks: until close().  Cancel: the server is closed.
  void serve_forever();

 private:
  std::shared_ptr<detail::Listener> listener_;
};

namespace detail {
/// Parks: until the sockets listen.
Server serve_protocol(ProtocolFactory factory, const std::string& host, std::uint16_t port,
                      const ServerOptions& options);
}  // namespace detail

/// Listens on `host`, an empty one being every address of this machine, and makes a protocol with `factory()`, which
/// returns a std::shared_ptr, for each connection.  The Future's error: ResolveError, OsError.
/// Source: PEP 3156 "Servers", create_server.
template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, std::string host, std::uint16_t port,
                                        const ServerOptions& options) {
  auto serve = [factory = std::move(factory), host = std::move(host), port, options]() mutable {
    return detail::serve_protocol(std::move(factory), host, port, options);
  };
  return detail::start_task(*this, {.name = "create_server"}, TULP_CALLER, std::move(serve));
}

template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, std::string host, std::uint16_t port) {
  return create_server(std::move(factory), std::move(host), port, ServerOptions{});
}

}  // namespace tulp
