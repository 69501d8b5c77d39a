// Service: connections of HTTP/1.1 and their requests, within limits.  Each connection is a task of its own; how long it
// takes is looked at from outside, from time to time, so that a request costs no timer.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/stream.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "http/message.hpp"
#include "http/reply.hpp"

namespace tool::http {

/// What clients may take.
struct Limits {
  MessageLimits message = {.head_bytes = 16 * 1024, .target_bytes = 8 * 1024, .field_count = 100};
  std::size_t body_bytes = 64 * 1024;  ///< of a request; it is read and thrown away
  std::size_t request_count = 1000;    ///< on one connection
  std::size_t connection_count = 10'000;
  tulp::Duration head_time = std::chrono::seconds(10);  ///< from a request's first byte to its last
  tulp::Duration idle_time = std::chrono::seconds(30);  ///< between requests
  tulp::Duration send_time = std::chrono::seconds(30);  ///< for each 16 KiB of a reply
};

/// Answers a GET or HEAD.  What it throws is answered with 500, or, once the reply has begun, by closing the connection.
using Handler = std::function<void(const RequestHead& request, Reply& reply)>;

/// What is heard of a service.
struct Observer {
  /// A reply has been written, or broke off; `request` is empty but for its text, if that was no request.
  std::function<void(std::string_view peer, const RequestHead& request, const Reply& reply)> on_reply = {};
  /// A client has come to a limit, or speaks no HTTP.
  std::function<void(std::string_view peer, std::string_view what)> on_trouble = {};
};

/// One for each thread that serves.
class Service {
 public:
  /// `open_count` counts the connections of all services that have a limit in common.
  explicit Service(Handler handler, const Limits& limits = {}, Observer observer = {},
                   std::shared_ptr<std::atomic<std::size_t>> open_count = std::make_shared<std::atomic<std::size_t>>());
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() { timer_.cancel(); }

  /// Parks: until the connection is closed.
  void serve(tulp::StreamReader reader, tulp::StreamWriter writer);
  /// Closes the connections on which nothing is asked for, and the others after their replies.
  void stop();

 private:
  struct Connection;
  enum class Phase { waiting, answering, skipping, leaving };

  void answer_all(Connection& connection);
  void answer(Connection& connection, const RequestHead& request, Reply& reply);
  void refuse_message(Connection& connection, const BadMessage& message);
  void refuse_connection(Connection& connection, unsigned status, const std::string& why);
  void tell(const Connection& connection, std::string_view what) const;
  void look();
  void look_at(Connection& connection);
  void look_at_request(Connection& connection);
  bool is_over(unsigned since, tulp::Duration limit) const;

  const Handler handler_;
  const Limits limits_;
  const Observer observer_;
  const std::shared_ptr<std::atomic<std::size_t>> open_count_;
  const std::chrono::nanoseconds interval_;
  std::list<Connection*> connections_;
  unsigned now_ = 0;  // how often has been looked
  tulp::TimerHandle timer_;
  bool is_stopping_ = false;
};

}  // namespace tool::http
