#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include <cerrno>

#include <tulp/error.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "net/unix_socket.hpp"
#include "streams/stream.hpp"
#include "transports/listener.hpp"

namespace tulp {

using detail::Stream;
using Handler = std::function<void(StreamReader, StreamWriter)>;

namespace {

Streams open_streams(EventLoop& loop, std::unique_ptr<detail::ByteStream> bytes, const ConnectOptions& options) {
  auto stream = Stream::open(loop, std::move(bytes));
  return {StreamReader(stream, options.limit_bytes), StreamWriter(stream)};
}

}  // namespace

Streams open_connection(std::string host, std::uint16_t port, ConnectOptions options) {
  EventLoop& loop = detail::require_task("open_connection").loop();
  if (options.sock >= 0)
    return open_streams(loop, detail::use_connected(loop, detail::take_connected(host, port, options), options),
                        options);
  return open_streams(loop, detail::connect_tcp(host, port, options), options);
}

Streams open_connection(ConnectOptions options) {
  EventLoop& loop = detail::require_task("open_connection").loop();
  return open_streams(loop, detail::use_connected(loop, detail::take_connected({}, 0, options), options), options);
}

Streams open_unix_connection(std::string path, ConnectOptions options) {
  EventLoop& loop = detail::require_task("open_unix_connection").loop();
  detail::check_unix_options(options);
  return open_streams(loop, detail::connect_unix(Address::unix_path(path), options), options);
}

namespace {

/// Runs in the handler's task.
void handle(const Handler& handler, StreamReader reader, StreamWriter writer, const detail::Client& client) {
  try {
    handler(std::move(reader), std::move(writer));
  } catch (const OsError& error) {
    if (error.code().value() != ECANCELED || !client.was_ended()) throw;
  }
}

Server serve(EventLoop& loop, std::vector<detail::BoundSocket> sockets, const ServerOptions& options, Handler handler,
             const void* caller) {
  auto shared_handler = std::make_shared<const Handler>(std::move(handler));
  auto accept = [&loop, shared_handler, limit = options.limit_bytes, caller](
                    std::unique_ptr<detail::ByteStream> bytes, const std::shared_ptr<detail::Client>& client) {
    auto stream = Stream::open(loop, std::move(bytes));
    auto work = [handling = detail::Client::Handling(client), shared_handler, reader = StreamReader(stream, limit),
                 writer = StreamWriter(stream)]() mutable {
      handle(*shared_handler, std::move(reader), std::move(writer), handling.client());
    };
    client->on_handler_started(detail::start_task(loop, {}, caller, std::move(work)));
    return stream->transport().shared_from_this();
  };
  return Server(detail::Listener::open(loop, std::move(sockets), options, std::move(accept)));
}

}  // namespace

Server start_server(Handler handler, Hosts hosts, std::uint16_t port, ServerOptions options) {
  const void* caller = TULP_CALLER;
  EventLoop& loop = detail::require_task("start_server").loop();
  auto sockets = options.socks.empty() ? detail::bind_tcp(hosts, port, options)
                                       : detail::use_bound(detail::take_bound(hosts, port, options), options);
  return serve(loop, std::move(sockets), options, std::move(handler), caller);
}

Server start_server(Handler handler, ServerOptions options) {
  const void* caller = TULP_CALLER;
  EventLoop& loop = detail::require_task("start_server").loop();
  return serve(loop, detail::use_bound(detail::take_bound("", 0, options), options), options, std::move(handler),
               caller);
}

Server start_unix_server(Handler handler, std::string path, ServerOptions options) {
  const void* caller = TULP_CALLER;
  EventLoop& loop = detail::require_task("start_unix_server").loop();
  detail::check_unix_options(options);
  return serve(loop, detail::bind_unix(Address::unix_path(path), options), options, std::move(handler), caller);
}

}  // namespace tulp
