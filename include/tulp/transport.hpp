// Transport: a connection, as its protocol sees it.  Floor 6, transports.
#pragma once
#include <sys/types.h>
#include <tulp/address.hpp>
#include <tulp/duration.hpp>
#include <tulp/future.hpp>
#include <tulp/protocol.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/task.hpp>

#include <any>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tulp {

/// Marks of a write buffer.  With one of them missing: low is a quarter of high, high four times low.
struct WriteBufferLimits {
  std::optional<std::size_t> high_bytes = std::nullopt;  ///< Default 64 KiB.
  std::optional<std::size_t> low_bytes = std::nullopt;   ///< Default 16 KiB.
};

/// Who made a Unix socket's other end, at the time when it was connected.  Source: unix(7), SO_PEERCRED.
struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

/// What every transport can do.  None of its methods parks.  The loop owns an open transport until connection_lost.
/// Source: PEP 3156 "Transports"; asyncio.BaseTransport.
class BaseTransport {
 public:
  virtual ~BaseTransport() = default;

  /// Stops reading, sends what is buffered, then connection_lost(null).  May be called twice.  What the peer has sent and
  /// nobody read does not keep it from getting all of that: on TCP, where it would, the socket stays open for up to two
  /// seconds more, and throws such bytes away.  With TLS the peer is told that this is the end, and connection_lost waits
  /// until it has said the same, for at most ssl_shutdown_timeout.
  virtual void close() = 0;
  virtual bool is_closing() const noexcept = 0;

  /// Who is called from now on; a protocol of the kind that this transport calls.
  /// Throws: std::invalid_argument - it is null.
  virtual void set_protocol(std::shared_ptr<BaseProtocol> protocol) = 0;
  virtual std::shared_ptr<BaseProtocol> get_protocol() const = 0;

  /// "sockname" and "peername" (Address), "socket" (int, borrowed), of a Unix socket "peercred" (PeerCredentials); with TLS
  /// "peercert" (Certificate), "cipher", "version", "alpn" (std::string), "sslcontext" (SslContext), "session_reused" (bool),
  /// and "compression", which is always empty.  Empty for what is not known.
  virtual std::any get_extra_info(std::string_view key) const = 0;
  template <class V>
  std::optional<V> get_extra_info(std::string_view key) const {
    const std::any value = get_extra_info(key);
    const V* typed = std::any_cast<V>(&value);
    return typed != nullptr ? std::optional<V>(*typed) : std::nullopt;
  }
};

/// A byte stream to a peer, for a Protocol or a BufferedProtocol.
/// Source: PEP 3156 "Transports", "Bidirectional Stream Transports".
class Transport : public BaseTransport {
 public:
  /// Sends what the kernel takes now and keeps the rest.  An error of the connection shows as connection_lost; what is
  /// written after that is dropped, with a warning from the fifth time on.
  /// Throws: InvalidStateError - after close() or write_eof().
  virtual void write(std::string_view data) = 0;
  /// As write() of one after another, in as few system calls as possible; only what the kernel does not take is copied.
  virtual void writelines(std::span<const std::string_view> pieces) = 0;
  /// Half-closes: the peer sees the end after everything that was written.  Reading goes on.  May be called twice.
  /// Throws: InvalidStateError - the transport speaks TLS, of which many peers know no half-close.
  virtual void write_eof() = 0;
  virtual bool can_write_eof() const noexcept = 0;

  /// Drops what is buffered, then connection_lost(null).  On TCP the peer sees a reset.
  virtual void abort() = 0;

  /// No data_received until resume_reading(); the kernel then holds the peer back.  Both may be called twice.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  virtual bool is_reading() const noexcept = 0;

  /// Throws: std::invalid_argument - low is above high.
  virtual void set_write_buffer_limits(WriteBufferLimits limits) = 0;
  /// Both marks, as they are in force.
  virtual WriteBufferLimits get_write_buffer_limits() const noexcept = 0;
  virtual std::size_t get_write_buffer_size() const noexcept = 0;
};

struct ConnectOptions {
  /// AF_INET or AF_INET6; AF_UNSPEC takes what the name has.
  int family = 0;
  /// How long all attempts together may take.
  Duration timeout = Duration::max();
  /// Where the connection comes from; addresses of another family are not tried.
  std::optional<Address> local_addr = std::nullopt;
  /// For streams: the longest line or record that readline() and readuntil() accept.
  std::size_t limit_bytes = 64 * 1024;
  /// What the socket speaks, such as IPPROTO_MPTCP; 0 is TCP.
  int proto = 0;
  /// AI_* flags for the look-up of the name.
  int flags = 0;
  /// How long an attempt has before the next address is tried beside it; with Duration::max() it has to fail first.
  /// Source: RFC 8305 section 5, Connection Attempt Delay.
  Duration happy_eyeballs_delay = std::chrono::milliseconds(250);
  /// How many addresses of the first one's family come before the families alternate; with 0 they stay in the order of
  /// the look-up.  Source: RFC 8305 section 4, First Address Family Count.
  unsigned interleave = 1;
  /// Sends small segments at once (TCP_NODELAY).
  bool nodelay = true;
  /// Asks a silent peer from time to time whether it is there (SO_KEEPALIVE).
  bool keep_alive = false;
  /// A connected stream socket to use instead of making one; there is no host then.  It belongs to tulp from the call on,
  /// whatever becomes of it, unless that throws std::invalid_argument.
  int sock = -1;
  /// Speaks TLS, with a client's context; connect_accepted_socket() takes a server's.  The connection stands when the
  /// handshake has been done.
  std::optional<SslContext> ssl = std::nullopt;
  /// With ssl: whom the peer's certificate must be for, a name or a numeric address; else the host.  There has to be one
  /// where there is no host.  An empty one asks for nobody in particular, and is for contexts that accept any.
  std::optional<std::string> server_hostname = std::nullopt;
  /// With ssl: how long the handshake may take, after connecting.
  Duration ssl_handshake_timeout = std::chrono::seconds(60);
  /// With ssl: how long close() waits for the peer's word that it ends too.
  Duration ssl_shutdown_timeout = std::chrono::seconds(30);
};

/// Of start_tls().
struct StartTlsOptions {
  /// For clients: whom the peer's certificate must be for, as ConnectOptions::server_hostname.
  std::optional<std::string> server_hostname = std::nullopt;
  Duration ssl_handshake_timeout = std::chrono::seconds(60);
  Duration ssl_shutdown_timeout = std::chrono::seconds(30);
};

/// What create_connection() gives.
template <class P>
struct Connection {
  std::shared_ptr<Transport> transport;
  std::shared_ptr<P> protocol;
};

namespace detail {
using ProtocolFactory = UniqueFunction<std::shared_ptr<BaseProtocol>()>;
/// Connects, and joins the transport to the protocol that it makes.  Parks: until connection_made has run.
using Connector = UniqueFunction<std::shared_ptr<Transport>(ProtocolFactory)>;

Connector connector(std::string host, std::uint16_t port, const ConnectOptions& options);
Connector connector(const Address& address, const ConnectOptions& options);
/// Over options.sock.
Connector connector(const ConnectOptions& options);
/// Over options.sock, as the side that was connected to.
Connector accepted_connector(const ConnectOptions& options);

/// Connects in a task of its own.
template <class Factory>
auto start_connecting(EventLoop& loop, const char* name, const void* caller, Factory factory, Connector connect) {
  using P = typename std::invoke_result_t<Factory&>::element_type;
  auto work = [factory = std::move(factory), connect = std::move(connect)]() mutable {
    std::shared_ptr<P> protocol;
    auto transport = connect([&] { return protocol = factory(); });
    return Connection<P>{std::move(transport), std::move(protocol)};
  };
  return Future<Connection<P>>(start_task(loop, {.name = name}, caller, std::move(work)));
}
}  // namespace detail

/// Connects to `host`, makes a protocol with `factory()`, which returns a std::shared_ptr, and joins the two.  The Future
/// is done when connection_made has run; cancelling it ends the attempt.  Its error: ResolveError, OsError, TimeoutError;
/// with ssl SslError, SslCertificateError, ConnectionResetError - the peer went during the handshake, or
/// ConnectionAbortedError - that took too long.
/// The addresses of the host are tried as RFC 8305 ("Happy Eyeballs") has it; the error of all speaks of each.
/// Throws: std::invalid_argument - options.sock is no stream socket, or there is a host beside it; an option of TLS makes
/// no sense.
/// Source: PEP 3156 "Internet name lookups", create_connection.
template <class Factory>
auto EventLoop::create_connection(Factory factory, std::string host, std::uint16_t port,
                                  const ConnectOptions& options) {
  return detail::start_connecting(*this, "create_connection", TULP_CALLER, std::move(factory),
                                  detail::connector(std::move(host), port, options));
}

template <class Factory>
auto EventLoop::create_connection(Factory factory, std::string host, std::uint16_t port) {
  return create_connection(std::move(factory), std::move(host), port, ConnectOptions{});
}

/// To one address, of any family.  Throws: std::invalid_argument - there is none, or an option does not fit.
template <class Factory>
auto EventLoop::create_connection(Factory factory, const Address& address, const ConnectOptions& options) {
  return detail::start_connecting(*this, "create_connection", TULP_CALLER, std::move(factory),
                                  detail::connector(address, options));
}

template <class Factory>
auto EventLoop::create_connection(Factory factory, const Address& address) {
  return create_connection(std::move(factory), address, ConnectOptions{});
}

/// Over options.sock.  The Future's error: OsError - it is not connected, or not any more.
/// Throws: std::invalid_argument - it is no stream socket.
template <class Factory>
auto EventLoop::create_connection(Factory factory, const ConnectOptions& options) {
  return detail::start_connecting(*this, "create_connection", TULP_CALLER, std::move(factory),
                                  detail::connector(options));
}

/// As create_connection(), to a Unix socket; a `path` that begins with NUL is an abstract name.  Of the options, those that
/// speak of names and addresses do not apply.  While the server's queue is full it is asked again and again.
/// Throws: std::invalid_argument - the path is empty or too long, or an option does not fit.
/// Source: asyncio.loop.create_unix_connection; unix(7).
template <class Factory>
auto EventLoop::create_unix_connection(Factory factory, std::string path, const ConnectOptions& options) {
  return detail::start_connecting(*this, "create_unix_connection", TULP_CALLER, std::move(factory),
                                  detail::connector(Address::unix_path(path), options));
}

template <class Factory>
auto EventLoop::create_unix_connection(Factory factory, std::string path) {
  return create_unix_connection(std::move(factory), std::move(path), ConnectOptions{});
}

/// As create_connection() over `sock`, which has come out of an accept(2) elsewhere; options.ssl is a server's context.
/// Source: asyncio.loop.connect_accepted_socket.
template <class Factory>
auto EventLoop::connect_accepted_socket(Factory factory, int sock, ConnectOptions options) {
  options.sock = sock;
  return detail::start_connecting(*this, "connect_accepted_socket", TULP_CALLER, std::move(factory),
                                  detail::accepted_connector(options));
}

template <class Factory>
auto EventLoop::connect_accepted_socket(Factory factory, int sock) {
  return connect_accepted_socket(std::move(factory), sock, ConnectOptions{});
}

}  // namespace tulp
