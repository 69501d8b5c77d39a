#include "http/client.hpp"

#include <tulp/error.hpp>

#include <cerrno>
#include <string>
#include <utility>

#include "exit_code.hpp"

namespace tool::http {
namespace {

constexpr int most_interim_replies = 16;

tulp::Streams connect(const Url& url, const Via& via) {
  tulp::ConnectOptions options{.family = via.family};
  if (url.scheme == Scheme::https) {
    options.ssl = via.tls->context();
    options.server_hostname = url.host;
  }
  try {
    if (!via.unix_socket.empty()) return tulp::open_unix_connection(via.unix_socket, options);
    return tulp::open_connection(url.host, url.port, options);
  } catch (const tulp::SslCertificateError& error) {
    throw Failure(ExitCode::not_trusted, error.what());
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::tls_failed, error.what());
  } catch (const tulp::ResolveError& error) {
    throw Failure(ExitCode::unknown_host, error.what());
  } catch (const tulp::OsError& error) {
    throw Failure(error.code().value() == ETIMEDOUT ? ExitCode::timed_out : ExitCode::not_connected, error.what());
  }
}

ExitCode exit_code_of(const BadMessage& message) {
  return message.kind() == BadMessage::Kind::truncated ? ExitCode::partial_body : ExitCode::weird_reply;
}

/// Calls `read`, and turns its errors into failures.
template <class F>
auto receiving(F read) {
  try {
    return read();
  } catch (const BadMessage& message) {
    const ExitCode code = exit_code_of(message);
    throw Failure(code, (code == ExitCode::weird_reply ? "weird reply: " : "") + std::string(message.what()));
  } catch (const tulp::OsError& error) {
    throw Failure(ExitCode::receive_error, error.what());
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::receive_error, error.what());
  }
}

/// Servers forget to encode the spaces of a Location; nobody else must suffer.
std::string with_encoded_spaces(std::string_view location) {
  std::string encoded;
  for (const char c : location) encoded += c == ' ' ? "%20" : std::string(1, c);
  return encoded;
}

Url follow(const Url& base, std::string_view location) {
  try {
    return resolve(base, with_encoded_spaces(location));
  } catch (const Failure& failure) {
    throw Failure(failure.code(), "redirected to " + std::string(location) + ": " + failure.what());
  }
}

}  // namespace

Exchange::Exchange(const Url& url, const Via& via) : Exchange(url, connect(url, via)) {}

Exchange::Exchange(const Url& url, tulp::Streams streams)
    : url_(url), writer_(std::move(streams.writer)), replies_(std::move(streams.reader)) {
  send_request();
  head_ = read_head();
}

void Exchange::send_request() {
  try {
    writer_.write("GET " + url_.target + " HTTP/1.1\r\nHost: " + url_.authority() +
                  "\r\nUser-Agent: tulp/" TULP_VERSION "\r\nAccept: */*\r\nConnection: close\r\n\r\n");
  } catch (const tulp::OsError& error) {
    throw Failure(ExitCode::send_error, error.what());
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::send_error, error.what());
  }
}

ResponseHead Exchange::read_head() {
  for (int i = 0; i <= most_interim_replies; ++i) {
    auto head = receiving([this] { return replies_.read_head(); });
    if (!head) throw Failure(ExitCode::empty_reply, "the server closed the connection without a reply");
    if (head->status >= 200) return *std::move(head);
  }
  throw Failure(ExitCode::weird_reply,
                "weird reply: more than " + std::to_string(most_interim_replies) + " interim ones");
}

std::optional<std::string_view> Exchange::redirection() const {
  const std::string* location = find(head_.fields, "Location");
  switch (head_.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      if (location != nullptr) return *location;
      [[fallthrough]];
    default: return std::nullopt;
  }
}

std::string_view Exchange::read_body() {
  return receiving([this] { return replies_.read_body(); });
}

Exchange get(Url url, const GetOptions& options) {
  for (unsigned followed = 0;; ++followed) {
    Exchange exchange(url, options.via);
    options.on_head(exchange.head());
    const auto location = exchange.redirection();
    if (!location) return exchange;
    if (followed == options.max_redirects) {
      throw Failure(ExitCode::too_many_redirects, "more than " + std::to_string(followed) + " redirects");
    }
    url = follow(url, *location);
  }
}

}  // namespace tool::http
