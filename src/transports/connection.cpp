#include <tulp/server.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "ssl/handshake.hpp"
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

Connector connector_of(Connect connect, std::optional<SslSettings> ssl) {
  return [connect = std::move(connect), ssl = std::move(ssl)](ProtocolFactory factory) mutable {
    return join(secure(connect(), ssl), std::move(factory));
  };
}

Server serve(std::vector<BoundSocket> sockets, const ServerOptions& options, ProtocolFactory factory) {
  EventLoop& loop = require_task("create_server").loop();
  auto accept = [&loop, factory = std::move(factory)](std::unique_ptr<ByteStream> stream,
                                                      const std::shared_ptr<Client>&) mutable {
    return StreamTransport::open(loop, std::move(stream), factory());
  };
  return Server(Listener::open(loop, std::move(sockets), options, std::move(accept)));
}

Binder binder_of(Bind bind, const ServerOptions& options) {
  return [bind = std::move(bind), options](ProtocolFactory factory) mutable {
    return serve(bind(), options, std::move(factory));
  };
}

}  // namespace

Connector connector(std::string host, std::uint16_t port, const ConnectOptions& options) {
  auto ssl = client_settings(options, host);
  return connector_of(connect_to(std::move(host), port, options), std::move(ssl));
}
Connector connector(const Address& address, const ConnectOptions& options) {
  auto ssl = client_settings(options, address);
  return connector_of(connect_to(address, options), std::move(ssl));
}
Connector connector(const ConnectOptions& options) {
  auto ssl = client_settings(options, std::string());
  return connector_of(connect_over_socket(options), std::move(ssl));
}
Connector accepted_connector(const ConnectOptions& options) {
  auto ssl = accepted_settings(options);
  return connector_of(connect_over_socket(options), std::move(ssl));
}

Binder binder(Hosts hosts, std::uint16_t port, const ServerOptions& options) {
  return binder_of(bind_to(std::move(hosts), port, options), options);
}
Binder binder(const Address& address, const ServerOptions& options) {
  return binder_of(bind_to(address, options), options);
}
Binder binder(const ServerOptions& options) { return binder_of(bind_sockets(options), options); }

}  // namespace tulp::detail
