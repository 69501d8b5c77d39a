#include <tulp/server.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>

#include "net/connect.hpp"
#include "net/listen.hpp"
#include "transports/listener.hpp"
#include "transports/stream_transport.hpp"

namespace tulp::detail {

std::shared_ptr<Transport> connect_transport(ProtocolFactory factory, const std::string& host, std::uint16_t port,
                                             const ConnectOptions& options) {
  auto stream = connect_tcp(host, port, options);
  auto transport = StreamTransport::open(require_task("create_connection").loop(), std::move(stream), factory());
  const CancelShield until_connection_made_has_run;
  yield_now();
  return transport;
}

Server serve_protocol(ProtocolFactory factory, const std::string& host, std::uint16_t port,
                      const ServerOptions& options) {
  EventLoop& loop = require_task("create_server").loop();
  auto accept = [&loop, factory = std::move(factory)](std::unique_ptr<ByteStream> stream) mutable {
    return StreamTransport::open(loop, std::move(stream), factory());
  };
  return Server(Listener::open(loop, listen_tcp(host, port, options), options.backlog, std::move(accept)));
}

}  // namespace tulp::detail
