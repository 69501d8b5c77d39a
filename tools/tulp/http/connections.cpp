#include "http/connections.hpp"

#include <sys/socket.h>
#include <tulp/address_info.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/timeout.hpp>

#include <cerrno>

#include "connecting.hpp"
#include "exit_code.hpp"
#include "http/public_address.hpp"
#include "terminal.hpp"

namespace tool::http {
namespace {

constexpr std::size_t most_kept = 100;

/// A server that is silent between two messages will answer the next one.  Whatever it has said, its end or a word on its
/// own, does not belong to what is asked next.
bool is_silent(const Connection& connection) {
  const auto socket = connection.writer.get_extra_info<int>("socket");
  char byte;
  return socket && ::recv(*socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void check(const tulp::Address& address, const Url& url, Reach reach) {
  if (reach == Reach::anywhere || is_public(address)) return;
  throw Failure(ExitCode::not_connected, url.host + " has the address " + address.host() + ", which is not public");
}

}  // namespace

tulp::Address Connection::peer() const {
  return writer.get_extra_info<tulp::Address>("peername").value_or(tulp::Address());
}

std::unique_ptr<Connection> Connections::take_kept(const Url& url) {
  const std::string origin = url.origin();
  for (std::size_t i = kept_.size(); i-- > 0;) {
    if (kept_[i].origin != origin) continue;
    auto connection = std::move(kept_[i].connection);
    kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i));
    if (is_silent(*connection)) return connection;
  }
  return nullptr;
}

std::unique_ptr<Connection> Connections::take(const Url& url, Reach reach) {
  auto connection = take_kept(url);
  if (!connection) return connect(url, reach);
  check(connection->peer(), url, reach);
  return connection;
}

void Connections::keep(const Url& url, std::unique_ptr<Connection> connection) {
  connection->was_kept = true;
  kept_.push_back({url.origin(), std::move(connection)});
  if (kept_.size() > most_kept) kept_.pop_front();
}

std::unique_ptr<Connection> Connections::connect(const Url& url, Reach reach) {
  tulp::Streams streams =
      connecting([&] { return tulp::with_timeout(via_.connect_timeout, [&] { return open(url, reach); }); },
                 "connecting timed out after " + in_time(via_.connect_timeout));
  return std::make_unique<Connection>(
      Connection{.writer = std::move(streams.writer), .replies = ResponseReader(std::move(streams.reader))});
}

tulp::Streams Connections::open(const Url& url, Reach reach) {
  tulp::ConnectOptions options{.family = via_.family};
  if (url.scheme == Scheme::https) {
    options.ssl = via_.tls->context();
    options.server_hostname = url.host;
  }
  if (!via_.unix_socket.empty()) return tulp::open_unix_connection(via_.unix_socket, options);
  if (reach == Reach::anywhere) return tulp::open_connection(url.host, url.port, options);
  for (const auto& info : tulp::await(tulp::get_event_loop().getaddrinfo(url.host, url.port, {.type = SOCK_STREAM}))) {
    check(info.address, url, reach);
  }
  tulp::Streams streams = tulp::open_connection(url.host, url.port, options);
  // The name may mean something else by now, and that on purpose.
  check(streams.writer.get_extra_info<tulp::Address>("peername").value_or(tulp::Address()), url, reach);
  return streams;
}

}  // namespace tool::http
