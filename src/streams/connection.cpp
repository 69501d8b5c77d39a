#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <cerrno>

#include <tulp/error.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "ssl/handshake.hpp"
#include "streams/stream.hpp"
#include "streams/stream_server.hpp"
#include "transports/listener.hpp"

namespace tulp {

using detail::Stream;
using Handler = detail::StreamHandler;

namespace {

Streams open_streams(detail::Connect connect, const ConnectOptions& options,
                     const std::optional<detail::SslSettings>& ssl) {
  auto stream = Stream::open(detail::require_task("open_connection").loop(), detail::secure(connect(), ssl));
  return {StreamReader(stream, options.limit_bytes), StreamWriter(stream)};
}

/// Runs in the handler's task.
void handle(const Handler& handler, StreamReader reader, StreamWriter writer, const detail::Client& client) {
  try {
    handler(std::move(reader), std::move(writer));
  } catch (const OsError& error) {
    if (error.code().value() != ECANCELED || !client.was_ended()) throw;
  }
}

Server serve(Handler handler, detail::Bind bind, const ServerOptions& options, const void* caller) {
  EventLoop& loop = detail::require_task("start_server").loop();
  return detail::open_stream_server(loop, std::move(handler), std::move(bind), options, caller);
}

}  // namespace

Server detail::open_stream_server(EventLoop& loop, Handler handler, Bind bind, const ServerOptions& options,
                                  const void* caller, std::shared_ptr<Traffic> traffic) {
  auto shared_handler = std::make_shared<const Handler>(std::move(handler));
  auto accept = [&loop, shared_handler, limit = options.limit_bytes, caller](std::unique_ptr<ByteStream> bytes,
                                                                             const std::shared_ptr<Client>& client) {
    auto stream = Stream::open(loop, std::move(bytes));
    auto work = [handling = Client::Handling(client), shared_handler, reader = StreamReader(stream, limit),
                 writer = StreamWriter(stream)]() mutable {
      handle(*shared_handler, std::move(reader), std::move(writer), handling.client());
    };
    client->on_handler_started(start_task(loop, {}, caller, std::move(work)));
    return stream->transport().shared_from_this();
  };
  Listener::Wrap wrap;
  if (traffic) {
    wrap = [traffic = std::move(traffic)](std::unique_ptr<ByteStream> bytes) {
      return std::make_unique<CountedStream>(std::move(bytes), traffic);
    };
  }
  return Server(Listener::open(loop, bind(), options, std::move(accept), std::move(wrap)));
}

// Each asks for its task first: a socket that is given away must not be lost because there is none.

Streams open_connection(std::string host, std::uint16_t port, ConnectOptions options) {
  detail::require_task("open_connection");
  const auto ssl = detail::client_settings(options, host);
  return open_streams(detail::connect_to(std::move(host), port, options), options, ssl);
}

Streams open_connection(const Address& address, ConnectOptions options) {
  detail::require_task("open_connection");
  const auto ssl = detail::client_settings(options, address);
  return open_streams(detail::connect_to(address, options), options, ssl);
}

Streams open_connection(ConnectOptions options) {
  detail::require_task("open_connection");
  const auto ssl = detail::client_settings(options, std::string());
  return open_streams(detail::connect_over_socket(options), options, ssl);
}

Streams open_unix_connection(std::string path, ConnectOptions options) {
  detail::require_task("open_unix_connection");
  const auto ssl = detail::client_settings(options, std::string());
  return open_streams(detail::connect_to(Address::unix_path(path), options), options, ssl);
}

Server start_server(Handler handler, Hosts hosts, std::uint16_t port, ServerOptions options) {
  detail::require_task("start_server");
  return serve(std::move(handler), detail::bind_to(std::move(hosts), port, options), options, TULP_CALLER);
}

Server start_server(Handler handler, const Address& address, ServerOptions options) {
  detail::require_task("start_server");
  return serve(std::move(handler), detail::bind_to(address, options), options, TULP_CALLER);
}

Server start_server(Handler handler, ServerOptions options) {
  detail::require_task("start_server");
  return serve(std::move(handler), detail::bind_sockets(options), options, TULP_CALLER);
}

Server start_unix_server(Handler handler, std::string path, ServerOptions options) {
  detail::require_task("start_unix_server");
  return serve(std::move(handler), detail::bind_to(Address::unix_path(path), options), options, TULP_CALLER);
}

}  // namespace tulp
