#include "ssl/handshake.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>
#include <tulp/wait.hpp>

#include "ssl/context.hpp"

namespace tulp::detail {
namespace {

void check_handshake_timeout(Duration timeout) {
  if (timeout <= Duration::zero()) throw std::invalid_argument("ssl_handshake_timeout has to be positive");
}

std::optional<SslHostName> wanted_host(const SslContext& context, const std::optional<std::string>& server_hostname,
                                       const std::string& host) {
  if (!server_hostname && host.empty()) throw std::invalid_argument("ssl without a host needs a server_hostname");
  const std::string& wanted = server_hostname ? *server_hostname : host;
  if (!wanted.empty()) return to_host_name(wanted);
  if (!context.state()->accepts_any_host_name())
    throw std::invalid_argument("an empty server_hostname is for a context with danger_accept_any_host_name");
  return std::nullopt;
}

class HandshakePark final : public Park {
 public:
  HandshakePark(SslStream& stream, TaskControl& me) : stream_(stream) { stream_.arm_handshake(me); }
  HandshakePark(const HandshakePark&) = delete;
  HandshakePark& operator=(const HandshakePark&) = delete;
  ~HandshakePark() { undo(); }
  void undo() noexcept override { stream_.disarm_handshake(); }
  std::string description() const override { return "the TLS handshake with " + stream_.peer(); }

 private:
  SslStream& stream_;
};

/// Whom to remember a session for: the name alone would be another service on another port.
std::string session_key(const SslSettings& settings, const ByteStream& bytes) {
  if (settings.context.is_server() || !settings.host) return {};
  const std::any peer = bytes.get_extra_info("peername");
  const auto* address = std::any_cast<Address>(&peer);
  const bool has_port = address != nullptr && (address->family() == AF_INET || address->family() == AF_INET6);
  return settings.host->name + ' ' + (has_port ? std::to_string(address->port()) : bytes.peer());
}

}  // namespace

std::optional<SslSettings> client_settings(const ConnectOptions& options, const std::string& host) {
  if (!options.ssl) {
    if (options.server_hostname) throw std::invalid_argument("server_hostname is for ssl");
    return std::nullopt;
  }
  if (options.ssl->is_server()) throw std::invalid_argument("a connection wants a client's SslContext");
  check_handshake_timeout(options.ssl_handshake_timeout);
  return SslSettings{*options.ssl, wanted_host(*options.ssl, options.server_hostname, host),
                     options.ssl_handshake_timeout, options.ssl_shutdown_timeout};
}

std::optional<SslSettings> client_settings(const ConnectOptions& options, const Address& address) {
  const bool has_host = address.family() == AF_INET || address.family() == AF_INET6;
  return client_settings(options, has_host ? address.host() : std::string());
}

std::optional<SslSettings> accepted_settings(const ConnectOptions& options) {
  if (options.server_hostname) throw std::invalid_argument("server_hostname is for clients");
  if (!options.ssl) return std::nullopt;
  if (!options.ssl->is_server()) throw std::invalid_argument("an accepted socket wants a server's SslContext");
  check_handshake_timeout(options.ssl_handshake_timeout);
  return SslSettings{*options.ssl, std::nullopt, options.ssl_handshake_timeout, options.ssl_shutdown_timeout};
}

std::optional<SslSettings> server_settings(const ServerOptions& options) {
  if (!options.ssl) return std::nullopt;
  if (!options.ssl->is_server()) throw std::invalid_argument("a server wants a server's SslContext");
  check_handshake_timeout(options.ssl_handshake_timeout);
  return SslSettings{*options.ssl, std::nullopt, options.ssl_handshake_timeout, options.ssl_shutdown_timeout};
}

SslSettings upgrade_settings(const SslContext& context, const StartTlsOptions& options) {
  check_handshake_timeout(options.ssl_handshake_timeout);
  SslSettings settings{context, std::nullopt, options.ssl_handshake_timeout, options.ssl_shutdown_timeout};
  if (!context.is_server())
    settings.host = wanted_host(context, options.server_hostname, {});
  else if (options.server_hostname)
    throw std::invalid_argument("server_hostname is for clients");
  return settings;
}

std::unique_ptr<SslStream> make_ssl_stream(EventLoop& loop, std::unique_ptr<ByteStream>&& bytes,
                                           const SslSettings& settings) {
  SslTarget target{settings.host, session_key(settings, *bytes)};
  return std::make_unique<SslStream>(loop, std::move(bytes), settings.context.state(), std::move(target),
                                     settings.shutdown_timeout);
}

void shake_hands(SslStream& stream, Duration timeout, UniqueFunction<void()> check) {
  TaskControl& me = require_task("TLS handshake");
  const auto shake = [&] {
    for (;;) {
      if (check) check();
      const ByteStream::Result result = stream.try_handshake();
      if (result.status == ByteStream::Status::done) return;
      if (result.status == ByteStream::Status::failed) std::rethrow_exception(stream.error());
      throw_if_cancelled();
      HandshakePark wait(stream, me);
      park(wait);
    }
  };
  try {
    with_timeout(timeout, shake);
  } catch (const TimeoutError& error) {
    throw_os_error(ECONNABORTED, "TLS handshake with " + stream.peer() + ": " + error.what());
  }
}

std::unique_ptr<ByteStream> secure(std::unique_ptr<ByteStream> bytes, const std::optional<SslSettings>& settings) {
  if (!settings) return bytes;
  auto stream = make_ssl_stream(require_task("TLS handshake").loop(), std::move(bytes), *settings);
  shake_hands(*stream, settings->handshake_timeout);
  return stream;
}

}  // namespace tulp::detail
