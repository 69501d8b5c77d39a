#include "http/service.hpp"

#include <tulp/address.hpp>
#include <tulp/error.hpp>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "terminal.hpp"

namespace tool::http {
namespace {

using namespace std::chrono_literals;

constexpr tulp::Duration leave_time = 2s;
/// A reader is slow if so much takes longer than the limit.
constexpr std::int64_t progress_bytes = 16 * 1024;

/// Often enough for the shortest limit.
std::chrono::nanoseconds interval_for(const Limits& limits) {
  const std::chrono::nanoseconds shortest = std::min({limits.head_time, limits.idle_time, limits.send_time});
  return std::clamp<std::chrono::nanoseconds>(shortest / 4, 20ms, 1s);
}

std::string host_of(const tulp::StreamWriter& writer) {
  const auto peer = writer.get_extra_info<tulp::Address>("peername");
  return peer ? peer->host() : "-";
}

unsigned status_of(BadMessage::Kind kind) {
  switch (kind) {
    case BadMessage::Kind::too_large: return 431;
    case BadMessage::Kind::long_target: return 414;
    case BadMessage::Kind::unknown_version: return 505;
    case BadMessage::Kind::unknown_coding: return 501;
    case BadMessage::Kind::malformed:
    case BadMessage::Kind::truncated: break;
  }
  return 400;
}

/// What is wrong with a request that the parser takes: RFC 9112 section 3.2.
std::string_view fault_of(const RequestHead& request) {
  const auto is_host = [](const FieldView& field) { return is_same_name(field.name, "Host"); };
  const auto host_count = std::count_if(request.fields.begin(), request.fields.end(), is_host);
  if (host_count == 0 && request.version >= 11) return "there is no Host field";
  if (host_count > 1) return "there is more than one Host field";
  if (!request.target.starts_with('/')) return "the target is no path, and this is no proxy";
  return {};
}

void refuse(Reply& reply, unsigned status, std::string_view why, Fields fields = {}) {
  reply.close_after();
  send_status(reply, status, why, std::move(fields));
}

}  // namespace

struct Service::Connection {
  Connection(Service& its_service, tulp::StreamReader reader, tulp::StreamWriter& its_writer);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  void enter(Phase next) noexcept;

  Service& service;
  tulp::StreamWriter& writer;
  Outlet outlet{writer};
  RequestReader requests;
  const std::string host;
  const bool is_one_too_many;
  std::size_t request_count = 0;
  bool is_unread = false;  // what the client sends is not waited for, and may come yet

  // What is looked at.
  Phase phase = Phase::waiting;
  unsigned since;           // when the phase began, or the request in it
  bool has_begun = false;   // the request has
  unsigned progress_since;  // when so much had been sent:
  std::int64_t sent_bytes = 0;

  std::list<Connection*>::iterator place;
};

Service::Connection::Connection(Service& its_service, tulp::StreamReader reader, tulp::StreamWriter& its_writer)
    : service(its_service),
      writer(its_writer),
      requests(std::move(reader), service.limits_.message),
      host(host_of(writer)),
      is_one_too_many(service.open_count_->fetch_add(1) >= service.limits_.connection_count),
      since(service.now_),
      progress_since(service.now_),
      place(service.connections_.insert(service.connections_.end(), this)) {
  if (service.connections_.size() == 1) service.look();
}

Service::Connection::~Connection() {
  service.open_count_->fetch_sub(1);
  service.connections_.erase(place);
  if (service.connections_.empty()) service.timer_.cancel();  // so that an idle loop sleeps
}

void Service::Connection::enter(Phase next) noexcept {
  phase = next;
  since = service.now_;
  has_begun = false;
}

Service::Service(Handler handler, const Limits& limits, Observer observer,
                 std::shared_ptr<std::atomic<std::size_t>> open_count)
    : handler_(std::move(handler)),
      limits_(limits),
      observer_(std::move(observer)),
      open_count_(std::move(open_count)),
      interval_(interval_for(limits)) {}

void Service::serve(tulp::StreamReader reader, tulp::StreamWriter writer) {
  Connection connection(*this, std::move(reader), writer);
  std::error_code error;
  try {
    answer_all(connection);
    connection.enter(Phase::leaving);
    // Closing with something unread would be a reset, and that can take away from the client what it has not read yet.
    if (connection.is_unread && writer.can_write_eof()) {
      writer.write_eof();
      connection.requests.drain();
    }
  } catch (const tulp::ConnectionError&) {
    // The client has gone, which is its right.
  } catch (const tulp::SslError&) {
    // So has this one, without TLS's word for it.
  } catch (const tulp::OsError& ended) {
    if (ended.code().value() != ECANCELED) throw;  // else it has come to a limit, or the service has stopped
  }
  connection.enter(Phase::leaving);
  writer.close();
  writer.wait_closed(error);  // while somebody looks whether the client takes what is left for it
}

void Service::answer_all(Connection& connection) {
  if (connection.is_one_too_many)
    return refuse_connection(connection, 503, "more than " + std::to_string(limits_.connection_count) + " connections");
  try {
    for (;;) {
      connection.enter(Phase::waiting);
      if (is_stopping_ && connection.requests.unparsed().empty()) return;
      const RequestHead* request = connection.requests.read_head();
      if (request == nullptr) return;
      connection.enter(Phase::answering);
      Reply reply(connection.outlet, *request);
      if (++connection.request_count >= limits_.request_count || is_stopping_) reply.close_after();
      const bool has_body = request->has_body();
      try {
        answer(connection, *request, reply);
      } catch (...) {
        if (observer_.on_reply) observer_.on_reply(connection.host, *request, reply);
        throw;
      }
      if (observer_.on_reply) observer_.on_reply(connection.host, *request, reply);
      connection.is_unread = has_body;
      if (!reply.keeps_alive()) return;
      if (!has_body) continue;
      connection.enter(Phase::skipping);
      if (!connection.requests.skip_body(limits_.body_bytes)) return;
      connection.is_unread = false;
    }
  } catch (const BadMessage& message) {
    connection.is_unread = true;
    refuse_message(connection, message);
  }
}

void Service::answer(Connection& connection, const RequestHead& request, Reply& reply) {
  if (const std::string_view fault = fault_of(request); !fault.empty()) return refuse(reply, 400, fault);
  if (request.method != "GET" && request.method != "HEAD") return refuse(reply, 405, {}, {{"Allow", "GET, HEAD"}});
  if (const auto expected = find(request.fields, "Expect")) {
    if (!is_same_name(*expected, "100-continue")) return refuse(reply, 417, {});
    reply.close_after();  // it is answered now, and whether its body comes then is not known
  }
  if (request.content_length.value_or(0) > limits_.body_bytes) {
    const std::string why = "a body of more than " + std::to_string(limits_.body_bytes / 1024) + " KiB";
    tell(connection, "413: " + why);
    return refuse(reply, 413, why);
  }
  try {
    handler_(request, reply);
    reply.end();
  } catch (const tulp::OsError&) {
    throw;  // the connection failed, not the handler
  } catch (const std::exception& error) {
    if (reply.has_begun()) throw;
    refuse(reply, 500, error.what());
  }
}

/// Answers what is no request, as well as that can be done.
void Service::refuse_message(Connection& connection, const BadMessage& message) {
  if (connection.phase != Phase::waiting) return tell(connection, message.what());  // it was a body
  refuse_connection(connection, status_of(message.kind()), message.what());
}

void Service::refuse_connection(Connection& connection, unsigned status, const std::string& why) {
  connection.enter(Phase::answering);
  connection.is_unread = true;
  RequestHead unknown;
  unknown.text = connection.requests.unparsed();
  Reply reply(connection.outlet, unknown);
  refuse(reply, status, why);
  if (observer_.on_reply) observer_.on_reply(connection.host, unknown, reply);
  tell(connection, std::to_string(status) + ": " + why);
}

void Service::tell(const Connection& connection, std::string_view what) const {
  if (observer_.on_trouble) observer_.on_trouble(connection.host, what);
}

void Service::stop() {
  is_stopping_ = true;
  for (Connection* connection : connections_)
    if (connection->phase == Phase::waiting && connection->requests.unparsed().empty()) connection->writer.close();
}

/// From time to time, as long as there are connections.
void Service::look() {
  ++now_;
  for (Connection* connection : connections_) look_at(*connection);
  timer_ = tulp::get_event_loop().call_later(interval_, [this] { look(); });
}

/// Never too early.
bool Service::is_over(unsigned since, tulp::Duration limit) const {
  return now_ != since && interval_ * static_cast<std::int64_t>(now_ - since - 1) >= limit;
}

void Service::look_at(Connection& connection) {
  tulp::Transport& transport = connection.writer.transport();
  const auto left = static_cast<std::int64_t>(transport.get_write_buffer_size());
  const std::int64_t sent = static_cast<std::int64_t>(connection.outlet.handed_bytes) - left;
  if (left == 0 || sent >= connection.sent_bytes + progress_bytes) {
    connection.sent_bytes = sent;
    connection.progress_since = now_;
  } else if (is_over(connection.progress_since, limits_.send_time)) {
    tell(connection, "it takes less than 16 KiB of a reply in " + in_time(limits_.send_time));
    return transport.abort();
  }
  if (connection.phase == Phase::leaving && is_over(connection.since, leave_time)) return connection.writer.close();
  if (connection.phase == Phase::skipping && is_over(connection.since, limits_.head_time)) {
    tell(connection, "a request's body takes longer than " + in_time(limits_.head_time));
    return connection.writer.close();
  }
  if (connection.phase == Phase::waiting && !transport.is_closing()) look_at_request(connection);
}

void Service::look_at_request(Connection& connection) {
  if (!connection.has_begun && !connection.requests.unparsed().empty()) {
    connection.has_begun = true;
    connection.since = now_;
  }
  if (!connection.has_begun) {
    if (is_over(connection.since, connection.request_count == 0 ? limits_.head_time : limits_.idle_time))
      connection.writer.close();
    return;
  }
  if (!is_over(connection.since, limits_.head_time)) return;
  const std::string why = "a request's header takes longer than " + in_time(limits_.head_time);
  const std::string body = "408 Request Timeout: " + why + "\n";
  connection.writer.write_nowait("HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: " +
                                 std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body);
  tell(connection, "408: " + why);
  connection.writer.close();
}

}  // namespace tool::http
