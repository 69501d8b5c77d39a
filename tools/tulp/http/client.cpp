#include "http/client.hpp"

#include <tulp/error.hpp>
#include <tulp/timeout.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "exit_code.hpp"

namespace tool::http {
namespace {

constexpr int most_interim_replies = 16;
// For more of it, or to wait longer, a new connection is cheaper.
constexpr std::size_t most_skipped_bytes = 64 * 1024;
constexpr auto longest_skip = std::chrono::seconds(1);

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

/// Whether asking twice is as good as asking once: RFC 9110 section 9.2.2.
bool is_idempotent(const std::string& method) {
  constexpr std::array methods{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};
  return std::find(methods.begin(), methods.end(), method) != methods.end();
}

/// How it shows that the server had closed a connection that was kept, before it saw the request.
bool is_by_late_close(const Failure& failure) {
  return failure.code() == ExitCode::empty_reply || failure.code() == ExitCode::send_error ||
         failure.code() == ExitCode::receive_error;
}

/// The head of a request as it is sent.
std::string serialize(const Request& request, const Url& url) {
  Fields fields{{"Host", url.authority()}, {"User-Agent", "tulp/" TULP_VERSION}, {"Accept", "*/*"}};
  if (request.body) fields.push_back({"Content-Type", "application/x-www-form-urlencoded"});
  std::erase_if(fields, [&](const Field& field) { return find(request.fields, field.name) != nullptr; });
  fields.insert(fields.end(), request.fields.begin(), request.fields.end());
  if (request.body) fields.push_back({"Content-Length", std::to_string(request.body->size())});

  std::string text = request.method + " " + url.target + " HTTP/1.1\r\n";
  for (const Field& field : fields) {
    if (!field.value.empty()) text += field.name + ": " + field.value + "\r\n";
  }
  return text + "\r\n";
}

/// Servers forget to encode the spaces of a Location; nobody else must suffer.
std::string with_encoded_spaces(std::string_view location) {
  std::string encoded;
  for (const char c : location) encoded += c == ' ' ? "%20" : std::string(1, c);
  return encoded;
}

Url follow(const Url& base, std::string_view location) {
  const std::string what = "redirected to " + std::string(location) + ": ";
  try {
    Url url = resolve(base, with_encoded_spaces(location));
    if (base.scheme == Scheme::https && url.scheme == Scheme::http) {
      throw Failure(ExitCode::unsupported_scheme, "that is not encrypted any more, and not followed");
    }
    return url;
  } catch (const Failure& failure) {
    throw Failure(failure.code(), what + failure.what());
  }
}

/// What is asked behind a redirect: as browsers do it, https://fetch.spec.whatwg.org/#http-redirect-fetch.
void redirect(Request& request, unsigned status, bool is_same_server) {
  const auto drop = [&](std::string_view name) {
    std::erase_if(request.fields, [name](const Field& field) { return is_same_name(field.name, name); });
  };
  const bool was_post = (status == 301 || status == 302) && request.method == "POST";
  const bool see_other = status == 303 && request.method != "GET" && request.method != "HEAD";
  if (was_post || see_other) {
    request.method = "GET";
    request.body.reset();
    drop("Content-Type");
  }
  if (is_same_server) return;
  for (const char* name : {"Authorization", "Cookie", "Host"}) drop(name);
}

}  // namespace

Exchange::Exchange(Connections& connections, const Url& url, const Request& request)
    : connections_(connections), url_(url) {
  const bool may_repeat = is_idempotent(request.method);
  connection_ = may_repeat ? connections_.take(url_, request.reach) : connections_.connect(url_, request.reach);
  try {
    exchange_heads(request);
  } catch (const Failure& failure) {
    if (!connection_->was_kept || !is_by_late_close(failure)) throw;
    connection_ = connections_.connect(url_, request.reach);
    exchange_heads(request);
  }
  if (head_.status == 101) throw Failure(ExitCode::weird_reply, "weird reply: it changes to another protocol");
}

void Exchange::exchange_heads(const Request& request) {
  peer_ = connection_->peer();
  send(request);
  connection_->replies.set_reply_to_head(request.method == "HEAD");
  head_ = read_head();
}

void Exchange::send(const Request& request) {
  try {
    connection_->writer.write(serialize(request, url_));
    if (request.body) connection_->writer.write(*request.body);
  } catch (const tulp::OsError& error) {
    throw Failure(ExitCode::send_error, error.what());
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::send_error, error.what());
  }
}

ResponseHead Exchange::read_head() {
  for (int i = 0; i <= most_interim_replies; ++i) {
    auto head = receiving([this] { return connection_->replies.read_head(); });
    if (!head) throw Failure(ExitCode::empty_reply, "the server closed the connection without a reply");
    if (head->status >= 200 || head->status == 101) return *std::move(head);
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
  if (!connection_) return {};
  const std::string_view piece = receiving([this] { return connection_->replies.read_body(); });
  if (piece.empty()) release();
  return piece;
}

void Exchange::skip_body() {
  if (!connection_) return;
  const auto skip = [this] { return connection_->replies.skip_body(most_skipped_bytes); };
  try {
    if (tulp::with_timeout(longest_skip, [&] { return receiving(skip); })) return release();
  } catch (const Failure&) {  // what nobody reads may be broken
  } catch (const tulp::TimeoutError&) {
  }
  connection_.reset();
}

/// What a server says unasked is no reply to the next request.
void Exchange::release() {
  auto connection = std::exchange(connection_, nullptr);
  if (head_.keep_alive && connection->replies.is_between_messages()) connections_.keep(url_, std::move(connection));
}

Exchange get(Connections& connections, Url url, Request request, const GetOptions& options) {
  for (unsigned followed = 0;; ++followed) {
    Exchange exchange(connections, url, request);
    options.on_head(exchange.head());
    const auto location = exchange.redirection();
    if (!location) return exchange;
    if (followed == options.max_redirects) {
      throw Failure(ExitCode::too_many_redirects, "more than " + std::to_string(followed) + " redirects");
    }
    Url next = follow(url, *location);
    redirect(request, exchange.head().status, next.origin() == url.origin());
    exchange.skip_body();
    url = std::move(next);
  }
}

}  // namespace tool::http
