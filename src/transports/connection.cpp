#include <tulp/server.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "net/unix_socket.hpp"
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

Connector unix_connector(const std::string& path, const ConnectOptions& options) {
  check_unix_options(options);
  return [address = Address::unix_path(path), options](ProtocolFactory factory) {
    return join(connect_unix(address, options), std::move(factory));
  };
}

namespace {

Server serve(std::vector<BoundSocket> sockets, const ServerOptions& options, ProtocolFactory factory) {
  EventLoop& loop = require_task("create_server").loop();
  auto accept = [&loop, factory = std::move(factory)](std::unique_ptr<ByteStream> stream,
                                                      const std::shared_ptr<Client>&) mutable {
    return StreamTransport::open(loop, std::move(stream), factory());
  };
  return Server(Listener::open(loop, std::move(sockets), options, std::move(accept)));
}

Binder binder_of(std::vector<UniqueFd> sockets, const ServerOptions& options) {
  return [sockets = std::move(sockets), options](ProtocolFactory factory) mutable {
    return serve(use_bound(std::move(sockets), options), options, std::move(factory));
  };
}

}  // namespace

Binder binder(Hosts hosts, std::uint16_t port, const ServerOptions& options) {
  if (!options.socks.empty()) return binder_of(take_bound(hosts, port, options), options);
  return [hosts = std::move(hosts), port, options](ProtocolFactory factory) {
    return serve(bind_tcp(hosts, port, options), options, std::move(factory));
  };
}

Binder binder(const ServerOptions& options) { return binder_of(take_bound("", 0, options), options); }

Binder unix_binder(const std::string& path, const ServerOptions& options) {
  check_unix_options(options);
  return [address = Address::unix_path(path), options](ProtocolFactory factory) {
    return serve(bind_unix(address, options), options, std::move(factory));
  };
}

}  // namespace tulp::detail
