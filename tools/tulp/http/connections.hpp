// Connections to servers of HTTP: made, and kept for the next request to the same server.
#pragma once
#include <tulp/address.hpp>
#include <tulp/duration.hpp>
#include <tulp/stream.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "http/message.hpp"
#include "http/url.hpp"
#include "tls.hpp"

namespace tool::http {

/// How to get to the server of a URL.
struct Via {
  /// AF_INET or AF_INET6; AF_UNSPEC takes what the host has.
  int family = 0;
  /// The Unix socket to connect to, whatever the URL's host; none if empty.
  std::string unix_socket = {};
  /// For https.
  std::shared_ptr<ClientTls> tls = std::make_shared<ClientTls>(std::vector<std::string>{"http/1.1"});
  /// How long a connection may take to stand, from the look-up of the name to the end of the TLS handshake.
  tulp::Duration connect_timeout = std::chrono::seconds(60);
};

/// Where a request may go.
enum class Reach {
  anywhere,
  public_only,  ///< not to this machine, nor to private networks: what a stranger's page asks for
};

struct Connection {
  tulp::StreamWriter writer;
  ResponseReader replies;
  bool was_kept = false;  ///< it has had a reply before

  /// Nothing for a Unix socket.
  tulp::Address peer() const;
};

/// The connections of one command.  They go with it.
class Connections {
 public:
  explicit Connections(Via via) : via_(std::move(via)) {}

  /// One that was kept, if there is one, or else a new one.
  /// Throws: Failure - timed_out, unknown_host, not_connected, not_trusted, tls_failed, or a bad file for TLS.
  std::unique_ptr<Connection> take(const Url& url, Reach reach);
  std::unique_ptr<Connection> connect(const Url& url, Reach reach);
  /// For the next one who takes one to that server.  It has to stand between two messages.
  void keep(const Url& url, std::unique_ptr<Connection> connection);
  /// Closes what is kept.
  void close_kept() { kept_.clear(); }

 private:
  struct Kept {
    std::string origin;
    std::unique_ptr<Connection> connection;
  };

  std::unique_ptr<Connection> take_kept(const Url& url);
  tulp::Streams open(const Url& url, Reach reach);

  Via via_;
  std::deque<Kept> kept_;  // the latest one last
};

}  // namespace tool::http
