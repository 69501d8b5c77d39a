#include "http/server.hpp"

#include <tulp/error.hpp>
#include <tulp/wait.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <ctime>
#include <exception>
#include <memory>
#include <stdexcept>
#include <utility>

namespace tool::http {
namespace {

using namespace std::chrono_literals;

constexpr auto idle_limit = 30s;
constexpr auto linger_limit = 1s;
constexpr int backlog = 4096;  // with less, many clients at once have to knock again after a second
constexpr std::size_t most_request_body_bytes = 1024 * 1024;

std::string date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::array<char, 40> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts))};
}

std::string hexadecimal(std::size_t number) {
  std::array<char, 16> digits{};
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr};
}

void send_text(Reply& reply, unsigned status, Fields fields = {}) {
  fields.push_back({"Content-Type", "text/plain; charset=utf-8"});
  reply.send(status, std::to_string(status) + " " + std::string(reason_phrase(status)) + "\n", std::move(fields));
}

/// The route of `target`, whose query is the route's own business; null if there is none.
const Route* find_route(const Routes& routes, std::string_view target) {
  std::string path(target.substr(0, target.find('?')));
  if (const auto exact = routes.find(path); exact != routes.end()) return &exact->second;
  while (path.size() > 1) {
    path.resize(path.rfind('/', path.size() - 2) + 1);  // up to and with the last '/', but one at the very end
    if (const auto below = routes.find(path); below != routes.end()) return &below->second;
  }
  return nullptr;
}

/// What the parser lets through and a server must not: RFC 9112 sections 3.2 and 5.2.
bool is_bad(const RequestHead& request) {
  const bool lacks_host = request.version >= 11 && find(request.fields, "Host") == nullptr;
  const bool is_folded =
      request.text.find("\r\n ") != std::string::npos || request.text.find("\r\n\t") != std::string::npos;
  return lacks_host || is_folded || !request.target.starts_with('/');
}

void refuse(Reply& reply, unsigned status, Fields fields = {}) {
  reply.close_after();
  send_text(reply, status, std::move(fields));
}

void answer(const Routes& routes, const RequestHead& request, Reply& reply) {
  if (is_bad(request)) return refuse(reply, 400);
  if (request.method != "GET" && request.method != "HEAD") return refuse(reply, 405, {{"Allow", "GET, HEAD"}});
  const Route* route = find_route(routes, request.target);
  if (route == nullptr) return send_text(reply, 404);
  try {
    (*route)(request, reply);
    reply.end();
  } catch (const tulp::OsError&) {
    throw;  // the connection failed, not the route
  } catch (const std::exception& error) {
    if (reply.has_begun()) throw;
    reply.close_after();
    reply.send(500, error.what() + std::string("\n"));
  }
}

/// Answers what is no request, as well as that can be done.
void refuse_message(tulp::StreamWriter& writer, const BadMessage& message) {
  const RequestHead unknown{};
  Reply reply(writer, unknown);
  refuse(reply, message.kind() == BadMessage::Kind::too_large ? 431 : 400);
}

void answer_all(const Routes& routes, RequestReader& requests, tulp::StreamWriter& writer) {
  try {
    while (const auto request = requests.read_head()) {
      Reply reply(writer, *request);
      answer(routes, *request, reply);
      if (!reply.keeps_alive() || !requests.skip_body(most_request_body_bytes)) return;
    }
  } catch (const BadMessage& message) {
    refuse_message(writer, message);
  }
}

/// Waits a moment for the client to close: closing first, with something unread, would be a reset, and that can take
/// away from the client what it has not read yet.  TLS says by itself that it ends, and waits for the answer.
void linger(RequestReader& requests, tulp::StreamWriter& writer) {
  if (!writer.can_write_eof()) return;
  writer.write_eof();
  tulp::with_timeout(linger_limit, [&] { requests.drain(); });
}

void serve_connection(const Routes& routes, tulp::StreamReader reader, tulp::StreamWriter writer) {
  reader.set_read_timeout(idle_limit);
  RequestReader requests(std::move(reader));
  try {
    answer_all(routes, requests, writer);
    linger(requests, writer);
  } catch (const tulp::ConnectionError&) {
    // The client has gone, which is its right.
  } catch (const tulp::SslError&) {
    // So has this one, without TLS's word for it.
  } catch (const tulp::TimeoutError&) {
    // It says nothing any more; the connection is closed.
  }
}

}  // namespace

Reply::Reply(tulp::StreamWriter& writer, const RequestHead& request)
    : writer_(writer),
      is_head_request_(request.method == "HEAD"),
      knows_chunks_(request.version >= 11),
      keeps_alive_(request.keep_alive) {}

void Reply::send(unsigned status, std::string_view body, Fields fields) {
  begin(status, std::move(fields), body.size());
  write(body);
  end();
}

void Reply::begin(unsigned status, Fields fields, std::optional<std::uint64_t> length) {
  if (has_begun()) throw std::logic_error("the reply has begun already");
  if (length) fields.push_back({"Content-Length", std::to_string(*length)});
  if (!length && knows_chunks_) fields.push_back({"Transfer-Encoding", "chunked"});
  if (!length && !knows_chunks_) close_after();
  fields.push_back({"Connection", keeps_alive_ ? "keep-alive" : "close"});

  std::string head = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_phrase(status)) +
                     "\r\nServer: tulp/" TULP_VERSION "\r\nDate: " + date() + "\r\n";
  for (const Field& field : fields) head += field.name + ": " + field.value + "\r\n";
  writer_.write(head + "\r\n");

  body_ = is_head_request_ ? Body::none : length ? Body::counted : knows_chunks_ ? Body::chunked : Body::until_close;
  left_bytes_ = length.value_or(0);
}

void Reply::write(std::string_view piece) {
  switch (body_) {
    case Body::unknown: throw std::logic_error("the reply has not begun");
    case Body::none: return;
    case Body::until_close: return writer_.write(piece);
    case Body::counted:
      if (piece.size() > left_bytes_) throw std::logic_error("the body is longer than its Content-Length");
      left_bytes_ -= piece.size();
      return writer_.write(piece);
    case Body::chunked:
      if (piece.empty()) return;  // an empty chunk would be the last one
      writer_.write(hexadecimal(piece.size()) + "\r\n");
      writer_.write(piece);
      return writer_.write("\r\n");
  }
}

void Reply::end() {
  if (body_ == Body::chunked) writer_.write("0\r\n\r\n");
  if (left_bytes_ > 0 && body_ == Body::counted) close_after();
  body_ = Body::none;
}

tulp::Server start_server(Routes routes, std::string host, std::uint16_t port, std::optional<tulp::SslContext> ssl) {
  const auto shared = std::make_shared<const Routes>(std::move(routes));
  return tulp::start_server(
      [shared](tulp::StreamReader reader, tulp::StreamWriter writer) {
        serve_connection(*shared, std::move(reader), std::move(writer));
      },
      std::move(host), port, {.backlog = backlog, .ssl = std::move(ssl)});
}

}  // namespace tool::http
