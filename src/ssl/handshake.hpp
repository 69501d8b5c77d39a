// How a connection comes to speak TLS.  Floor 6, ssl.
#pragma once
#include <tulp/server.hpp>
#include <tulp/ssl_context.hpp>
#include <tulp/transport.hpp>

#include <memory>
#include <optional>
#include <string>

#include "ssl/host_name.hpp"
#include "ssl/ssl_stream.hpp"
#include "transports/byte_stream.hpp"

namespace tulp::detail {

struct SslSettings {
  SslContext context;
  std::optional<SslHostName> host = std::nullopt;  // whom a client speaks to
  Duration handshake_timeout = Duration::max();
  Duration shutdown_timeout = Duration::max();
};

// What the options say of TLS; nothing if they don't.  These throw std::invalid_argument if they make no sense.

/// Of a connection to `host`, which is empty if there is none.
std::optional<SslSettings> client_settings(const ConnectOptions& options, const std::string& host);
std::optional<SslSettings> client_settings(const ConnectOptions& options, const Address& address);
/// Of a connection that has been accepted.
std::optional<SslSettings> accepted_settings(const ConnectOptions& options);
std::optional<SslSettings> server_settings(const ServerOptions& options);

/// Of a connection that goes on with TLS.
SslSettings upgrade_settings(const SslContext& context, const StartTlsOptions& options);

/// If this throws, `bytes` are still the caller's.
std::unique_ptr<SslStream> make_ssl_stream(EventLoop& loop, std::unique_ptr<ByteStream>&& bytes,
                                           const SslSettings& settings);

/// Calls `check` before each try: what that throws ends it.  Parks: until the handshake has been done.
/// Throws: SslError; SslCertificateError; ConnectionResetError - the peer has gone; ConnectionAbortedError - the time is
/// over; OsError.
void shake_hands(SslStream& stream, Duration timeout, UniqueFunction<void()> check = nullptr);

/// TLS over `bytes` if there are settings; else `bytes` as they are.  Parks, Throws: as shake_hands(); then the connection
/// is closed.
std::unique_ptr<ByteStream> secure(std::unique_ptr<ByteStream> bytes, const std::optional<SslSettings>& settings);

}  // namespace tulp::detail
