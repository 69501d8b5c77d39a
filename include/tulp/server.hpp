// Server: listening sockets.  Floor 6, transports.
#pragma once
#include <tulp/address.hpp>
#include <tulp/transport.hpp>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tulp {

/// Where a server listens: one host or several.  An empty one is every address of this machine.
class Hosts {
 public:
  Hosts(const char* host) : names_{host} {}
  Hosts(std::string host) : names_{std::move(host)} {}
  Hosts(std::initializer_list<std::string> hosts) : names_(hosts) { check(); }
  Hosts(std::vector<std::string> hosts) : names_(std::move(hosts)) { check(); }

  const std::vector<std::string>& names() const noexcept { return names_; }

 private:
  /// Throws: std::invalid_argument - there is none.
  void check() const;
  std::vector<std::string> names_;
};

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
  /// AI_* flags for the look-up of the hosts, beside AI_PASSIVE.
  int flags = 0;
  /// Of each connection: sends small segments at once (TCP_NODELAY).
  bool nodelay = true;
  /// Of each connection: asks a silent peer from time to time whether it is there (SO_KEEPALIVE).
  bool keep_alive = false;
  /// Without it the sockets are bound but do not listen before Server::start_serving().
  bool start_serving = true;
  /// Removes the file of a Unix socket when the server closes, unless another one has taken its place.
  bool cleanup_socket = true;
  /// Bound stream sockets of any family to use instead of making some; there is no host then.  They belong to tulp from
  /// the call on, whatever becomes of it, unless that throws std::invalid_argument.
  std::vector<int> socks = {};
  /// Speaks TLS, with a server's context.  A client whose handshake fails is dropped, with a line to the loop's exception
  /// handler that says why; one that goes away in its course, without.  Protocols and handlers hear of a connection after
  /// its handshake.
  std::optional<SslContext> ssl = std::nullopt;
  /// As ConnectOptions::ssl_handshake_timeout and ssl_shutdown_timeout.
  Duration ssl_handshake_timeout = std::chrono::seconds(60);
  Duration ssl_shutdown_timeout = std::chrono::seconds(30);
};

namespace detail {
class Listener;
}

/// A handle to listening sockets; copies name the same ones.  The loop owns them until close(): dropping the handle
/// changes nothing.  Source: PEP 3156 "Servers"; asyncio.Server.
class Server {
 public:
  explicit Server(std::shared_ptr<detail::Listener> listener) : listener_(std::move(listener)) {}

  /// Begins to accept, if that has not begun.
  /// Throws: OsError - listen(2) failed; InvalidStateError - the server is closed.
  void start_serving();
  /// Stops accepting.  Connections that stand go on.  May be called twice.
  void close();
  bool is_serving() const noexcept;
  /// The addresses that were bound, with the ports that were chosen for port 0.
  std::vector<Address> addresses() const;
  /// The port of the first of them.
  std::uint16_t port() const { return addresses().front().port(); }
  /// The listening sockets, borrowed until close(); none after that.
  std::vector<int> sockets() const;

  /// Closes the connections that stand, each as its transport's close() does; a handler's next read or write throws an
  /// OsError with ECANCELED, of which nothing is heard if the handler lets it pass.  Call close() first.
  void close_clients();
  /// As close_clients(), with abort().
  void abort_clients();

  /// Parks: until the server is closed and its last connection is gone.
  void wait_closed();
  /// Parks: until close().  Cancel: the server is closed, its handlers are cancelled, and the connections of its
  /// protocols are closed.
  void serve_forever();
  /// Closes the server, and gives its connections and handlers `grace` to end by themselves.  Then handlers are cancelled
  /// and connections closed; those whose peers do not take what is left for them are aborted, which is reported.  How many
  /// were left to be ended so.  A handler may call this too: it does not wait for itself.
  /// Parks: until all have ended.  Cancel: the server is closed, the rest goes on.
  /// Source: tulp only; what asyncio leaves to be written after close().
  std::size_t shutdown(Duration grace);

 private:
  std::shared_ptr<detail::Listener> listener_;
};

/// Listening sockets that a service manager such as systemd has passed to this process, for ServerOptions::socks; none if
/// it has not.  They are close-on-exec from then on.
/// Throws: OsError - one of them is not open; std::invalid_argument - what the environment says of them makes no sense.
/// Source: sd_listen_fds(3).
std::vector<int> inherited_sockets();

namespace detail {
/// Begins to listen, with a protocol for each connection.  May park until names are resolved.
using Binder = UniqueFunction<Server(ProtocolFactory)>;

Binder binder(Hosts hosts, std::uint16_t port, const ServerOptions& options);
Binder binder(const Address& address, const ServerOptions& options);
/// On options.socks.
Binder binder(const ServerOptions& options);

/// Binds in a task of its own.
template <class Factory>
Future<Server> start_serving(EventLoop& loop, const char* name, const void* caller, Factory factory, Binder bind) {
  auto work = [factory = std::move(factory), bind = std::move(bind)]() mutable { return bind(std::move(factory)); };
  return start_task(loop, {.name = name}, caller, std::move(work));
}
}  // namespace detail

/// Listens on `hosts`, all on one port, and makes a protocol with `factory()`, which returns a std::shared_ptr, for each
/// connection.  The Future's error: ResolveError, OsError.
/// Throws: std::invalid_argument - one of options.socks is no stream socket, or there is a host beside them.
/// Source: PEP 3156 "Servers", create_server.
template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, Hosts hosts, std::uint16_t port,
                                        const ServerOptions& options) {
  return detail::start_serving(*this, "create_server", TULP_CALLER, std::move(factory),
                               detail::binder(std::move(hosts), port, options));
}

template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, Hosts hosts, std::uint16_t port) {
  return create_server(std::move(factory), std::move(hosts), port, ServerOptions{});
}

/// On one address, of any family.  Throws: std::invalid_argument - there is none, or an option does not fit.
template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, const Address& address, const ServerOptions& options) {
  return detail::start_serving(*this, "create_server", TULP_CALLER, std::move(factory),
                               detail::binder(address, options));
}

template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, const Address& address) {
  return create_server(std::move(factory), address, ServerOptions{});
}

/// On options.socks.
template <class Factory>
Future<Server> EventLoop::create_server(Factory factory, const ServerOptions& options) {
  return detail::start_serving(*this, "create_server", TULP_CALLER, std::move(factory), detail::binder(options));
}

/// As create_server(), on a Unix socket; a `path` that begins with NUL is an abstract name.  A file is taken over if it
/// is a socket that nobody listens on.  Of the options, those that speak of addresses and ports do not apply.
/// Throws: std::invalid_argument - the path is empty or too long, or an option does not fit.
/// Source: asyncio.loop.create_unix_server; unix(7).
template <class Factory>
Future<Server> EventLoop::create_unix_server(Factory factory, std::string path, const ServerOptions& options) {
  return detail::start_serving(*this, "create_unix_server", TULP_CALLER, std::move(factory),
                               detail::binder(Address::unix_path(path), options));
}

template <class Factory>
Future<Server> EventLoop::create_unix_server(Factory factory, std::string path) {
  return create_unix_server(std::move(factory), std::move(path), ServerOptions{});
}

}  // namespace tulp
