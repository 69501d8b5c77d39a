#include "http/server.hpp"

#include <tulp/stream.hpp>

#include <limits>
#include <memory>
#include <string_view>
#include <utility>

namespace tool::http {
namespace {

constexpr int backlog = 4096;  // with less, many clients at once have to knock again after a second

/// The route of `target`, whose query is the route's own business; null if there is none.
const Handler* find_route(const Routes& routes, std::string_view target) {
  std::string path(target.substr(0, target.find('?')));
  if (const auto exact = routes.find(path); exact != routes.end()) return &exact->second;
  while (path.size() > 1) {
    path.resize(path.rfind('/', path.size() - 2) + 1);  // up to and with the last '/', but one at the very end
    if (const auto below = routes.find(path); below != routes.end()) return &below->second;
  }
  return nullptr;
}

}  // namespace

tulp::Server start_server(Routes routes, std::string host, std::uint16_t port, std::optional<tulp::SslContext> ssl) {
  const auto answer = [routes = std::move(routes)](const RequestHead& request, Reply& reply) {
    const Handler* route = find_route(routes, request.target);
    return route != nullptr ? (*route)(request, reply) : send_status(reply, 404);
  };
  Limits limits;
  limits.connection_count = std::numeric_limits<std::size_t>::max();
  const auto service = std::make_shared<Service>(answer, limits);
  return tulp::start_server(
      [service](tulp::StreamReader reader, tulp::StreamWriter writer) {
        service->serve(std::move(reader), std::move(writer));
      },
      std::move(host), port, {.backlog = backlog, .ssl = std::move(ssl)});
}

}  // namespace tool::http
