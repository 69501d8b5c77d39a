// The client's side of HTTP/1.1: a request, its reply, and where that sends its reader.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/connections.hpp"
#include "http/message.hpp"
#include "http/url.hpp"

namespace tool::http {

/// What a server is asked for, but for where that is.
struct Request {
  std::string method = "GET";
  /// They take the place of our own of the same name; one with an empty value leaves that out.
  Fields fields = {};
  std::optional<std::string> body = std::nullopt;
  Reach reach = Reach::anywhere;
};

/// A request whose reply has begun.  Dropping it closes the connection, unless the reply has been read to its end.
class Exchange {
 public:
  /// Asks for `url` and reads the reply's head.
  /// Throws: Failure - of whichever kind.
  Exchange(Connections& connections, const Url& url, const Request& request = {});

  const Url& url() const noexcept { return url_; }
  const ResponseHead& head() const noexcept { return head_; }
  /// Whom we are talking to.
  const tulp::Address& peer() const noexcept { return peer_; }
  /// Where the reply sends its reader, if it does.
  std::optional<std::string_view> redirection() const;
  /// The next piece of the body, in place until the next read; empty at its end.
  /// Throws: Failure - partial_body, weird_reply or receive_error.
  std::string_view read_body();
  /// Gives up the rest: reads on to the end, if that is near, so that the connection can be used again.
  void skip_body();

 private:
  void exchange_heads(const Request& request);
  void send(const Request& request);
  ResponseHead read_head();
  void release();

  Connections& connections_;
  Url url_;
  std::unique_ptr<Connection> connection_;  // null when the reply has ended
  tulp::Address peer_;
  ResponseHead head_;
};

struct GetOptions {
  /// How many redirects are followed.
  unsigned max_redirects = 10;
  /// Called with every head that comes, those of redirects too.
  std::function<void(const ResponseHead&)> on_head = [](const ResponseHead&) {};
};

/// Asks for `url`, and follows where the replies send it, but not from https to http.  On the way a POST becomes a GET
/// where browsers do that, and what is for one server alone (Authorization, Cookie, Host) is not told to another.
/// Throws: Failure - too_many_redirects; as Exchange.
Exchange get(Connections& connections, Url url, Request request = {}, const GetOptions& options = {});

}  // namespace tool::http
