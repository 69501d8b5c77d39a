#include <tulp/stream.hpp>
#include <tulp/task.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "streams/stream.hpp"
#include "transports/listener.hpp"

namespace tulp {

using detail::Stream;

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

Server start_server(std::function<void(StreamReader, StreamWriter)> handler, std::string host, std::uint16_t port,
                    ServerOptions options) {
  const void* caller = TULP_CALLER;
  EventLoop& loop = detail::require_task("start_server").loop();
  auto shared_handler = std::make_shared<const decltype(handler)>(std::move(handler));
  auto accept = [&loop, shared_handler, limit = options.limit_bytes,
                 caller](std::unique_ptr<detail::ByteStream> bytes) {
    auto stream = Stream::open(loop, std::move(bytes));
    auto serve = [shared_handler, reader = StreamReader(stream, limit), writer = StreamWriter(stream)]() mutable {
      (*shared_handler)(std::move(reader), std::move(writer));
    };
    detail::start_task(loop, {}, caller, std::move(serve));
    return stream->transport().shared_from_this();
  };
  return Server(
      detail::Listener::open(loop, detail::listen_tcp(host, port, options), options.backlog, std::move(accept)));
}

}  // namespace tulp
