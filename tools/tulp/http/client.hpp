// The client's side of HTTP/1.1: one request on a connection of its own, and its reply.
#pragma once
#include <tulp/stream.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
};

/// A GET whose reply has begun.  Dropping it closes the connection.
class Exchange {
 public:
  /// Connects, asks for `url` and reads the reply's head.
  /// Throws: Failure - of whichever kind.
  explicit Exchange(const Url& url, const Via& via = {});

  const Url& url() const noexcept { return url_; }
  const ResponseHead& head() const noexcept { return head_; }
  /// Where the reply sends its reader, if it does.
  std::optional<std::string_view> redirection() const;
  /// The next piece of the body, in place until the next read; empty at its end.
  /// Throws: Failure - partial_body, weird_reply or receive_error.
  std::string_view read_body();

 private:
  Exchange(const Url& url, tulp::Streams streams);
  void send_request();
  ResponseHead read_head();

  Url url_;
  tulp::StreamWriter writer_;
  ResponseReader replies_;
  ResponseHead head_;
};

struct GetOptions {
  /// How many redirects are followed.
  unsigned max_redirects = 10;
  Via via = {};
  /// Called with every head that comes, those of redirects too.
  std::function<void(const ResponseHead&)> on_head = [](const ResponseHead&) {};
};

/// Asks for `url`, and follows where the replies send it.
/// Throws: Failure - too_many_redirects; as Exchange.
Exchange get(Url url, const GetOptions& options = {});

}  // namespace tool::http
