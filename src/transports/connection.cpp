#include <tulp/server.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "transports/join.hpp"
#include "transports/listener.hpp"
#include "transports/stream_transport.hpp"

namespace tulp::detail {

std::shared_ptr<Transport> join(std::unique_ptr<ByteStream> stream, ProtocolFactory factory) {
  auto transport = StreamTransport::open(require_task("create_connection").loop(), std::move(stream), factory());
  const CancelShield until_connection_made_has_run;
  yield_now();
  return transport;
}

namespace {

Connector connector_over(UniqueFd socket, const ConnectOptions& options) {
  return [socket = std::move(socket), options](ProtocolFactory factory) mutable {
    EventLoop& loop = require_task("create_connection").loop();
    return join(use_connected(loop, std::move(socket), options), std::move(factory));
  };
}

}  // namespace

Connector connector(std::string host, std::uint16_t port, const ConnectOptions& options) {
  if (options.sock >= 0) return connector_over(take_connected(host, port, options), options);
  return [host = std::move(host), port, options](ProtocolFactory factory) {
    return join(connect_tcp(host, port, options), std::move(factory));
  };
}

Connector connector(const ConnectOptions& options) { return connector_over(take_connected({}, 0, options), options); }

Server serve_protocol(ProtocolFactory factory, const std::string& host, std::uint16_t port,
                      const ServerOptions& options) {
  EventLoop& loop = require_task("create_server").loop();
  auto accept = [&loop, factory = std::move(factory)](std::unique_ptr<ByteStream> stream) mutable {
    return StreamTransport::open(loop, std::move(stream), factory());
  };
  return Server(Listener::open(loop, listen_tcp(host, port, options), options.backlog, std::move(accept)));
}

}  // namespace tulp::detail
