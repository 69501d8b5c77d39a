// Transport: a connection, as its protocol sees it.  Floor 6, transports.
#pragma once
#include <tulp/address.hpp>
#include <tulp/duration.hpp>
#include <tulp/future.hpp>
#include <tulp/protocol.hpp>
#include <tulp/task.hpp>

#include <any>
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

/// What every transport can do.  None of its methods parks.  The loop owns an open transport until connection_lost.
/// Source: PEP 3156 "Transports"; asyncio.BaseTransport.
class BaseTransport {
 public:
  virtual ~BaseTransport() = default;

  /// Stops reading, sends what is buffered, then connection_lost(null).  May be called twice.
  virtual void close() = 0;
  virtual bool is_closing() const noexcept = 0;

  /// Who is called from now on; a protocol of the kind that this transport calls.
  /// Throws: std::invalid_argument - it is null.
  virtual void set_protocol(std::shared_ptr<BaseProtocol> protocol) = 0;
  virtual std::shared_ptr<BaseProtocol> get_protocol() const = 0;

  /// "sockname" and "peername" (Address), "socket" (int, borrowed); empty for what is not known.
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
  /// As write() of one after another, in as few system calls as possible.
  virtual void writelines(std::span<const std::string_view> pieces) = 0;
  /// Half-closes: the peer sees the end after everything that was written.  Reading goes on.  May be called twice.
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
  virtual std::size_t get_write_buffer_size() const noexcept = 0;
};

struct ConnectOptions {
  /// AF_INET or AF_INET6; AF_UNSPEC takes what the name has.
  int family = 0;
  /// How long all attempts together may take.
  Duration timeout = Duration::max();
  /// Where the connection comes from; addresses of another family are not tried.
  std::optional<Address> local_address = std::nullopt;
  /// For streams: the longest line or record that readline() and readuntil() accept.
  std::size_t limit_bytes = 64 * 1024;
};

/// What create_connection() gives.
template <class P>
struct Connection {
  std::shared_ptr<Transport> transport;
  std::shared_ptr<P> protocol;
};

namespace detail {
using ProtocolFactory = UniqueFunction<std::shared_ptr<BaseProtocol>()>;
/// Parks: until the connection stands and connection_made has run.
std::shared_ptr<Transport> connect_transport(ProtocolFactory factory, const std::string& host, std::uint16_t port,
                                             const ConnectOptions& options);
}  // namespace detail

/// Connects to `host`, makes a protocol with `factory()`, which returns a std::shared_ptr, and joins the two.  The Future
/// is done when connection_made has run; cancelling it ends the attempt.  Its error: ResolveError, OsError, TimeoutError.
/// Source: PEP 3156 "Internet name lookups", create_connection.
template <class Factory>
auto EventLoop::create_connection(Factory factory, std::string host, std::uint16_t port,
                                  const ConnectOptions& options) {
  using P = typename std::invoke_result_t<Factory&>::element_type;
  auto connect = [factory = std::move(factory), host = std::move(host), port, options]() mutable {
    std::shared_ptr<P> protocol;
    auto transport = detail::connect_transport([&] { return protocol = factory(); }, host, port, options);
    return Connection<P>{std::move(transport), std::move(protocol)};
  };
  return Future<Connection<P>>(
      detail::start_task(*this, {.name = "create_connection"}, TULP_CALLER, std::move(connect)));
}

template <class Factory>
auto EventLoop::create_connection(Factory factory, std::string host, std::uint16_t port) {
  return create_connection(std::move(factory), std::move(host), port, ConnectOptions{});
}

}  // namespace tulp
