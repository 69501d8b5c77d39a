// A connection to an HTTP server: the same request again and again, pipelined if that is wanted.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "bench/client.hpp"
#include "bench/reply_parser.hpp"
#include "http/message.hpp"

namespace tool::bench {
namespace {

class HttpClient final : public StreamClient {
 public:
  HttpClient(Worker& worker, std::size_t number) : StreamClient(worker, number) {
    for (std::size_t i = 0; i < worker.plan().pipeline; ++i) requests_ += worker.plan().request;
  }

 private:
  void reset() override {
    rest_.clear();
    reply_bytes_ = 0;
    parser_.begin(worker_.plan().is_head);
  }

  void write_requests(std::size_t count) override {
    transport().write(std::string_view(requests_).substr(0, count * worker_.plan().request.size()));
  }

  void read_answers(std::string_view data, tulp::TimePoint now) override {
    if (!rest_.empty()) data = rest_ += data;
    while (!data.empty()) {
      if (!is_waiting()) throw Wrong("more replies came than were asked for");
      const std::size_t size = put(data);
      data.remove_prefix(size);
      reply_bytes_ += size;
      if (!parser_.is_complete()) break;
      if (!take_reply(now)) return end();
    }
    std::string(data).swap(rest_);  // data may be a part of it
  }

  std::size_t put(std::string_view data) {
    try {
      return parser_.put(data);
    } catch (const std::runtime_error& error) {
      throw Wrong(error.what());
    }
  }

  /// False if it was the last one of this connection.
  bool take_reply(tulp::TimePoint now) {
    const bool is_last = !parser_.keeps_alive();
    if (parser_.status() >= 200) {
      const std::string flaw = find_flaw();
      flaw.empty() ? note_answer(now, reply_bytes_) : note_failure(flaw);
      reply_bytes_ = 0;
    }
    parser_.begin(worker_.plan().is_head);
    return !is_last;
  }

  /// What is wrong with the reply; empty if nothing is.
  std::string find_flaw() {
    const Plan& plan = worker_.plan();
    const unsigned status = parser_.status();
    if (plan.status ? status != *plan.status : status >= 400) {
      return "status " + std::to_string(status) + " " + std::string(http::reason_phrase(status));
    }
    if (plan.sizes_may_differ) return "";
    const auto size = static_cast<std::int64_t>(parser_.body_bytes());
    std::int64_t first = worker_.shared().reply_bytes.load(std::memory_order_relaxed);
    if (first < 0 && worker_.shared().reply_bytes.compare_exchange_strong(first, size)) return "";
    return first == size ? "" : "another size than the first reply's";
  }

  bool ends_in_order() override {
    if (!rest_.empty()) throw Wrong("closed by the server within a reply");
    if (!parser_.has_begun()) return has_answers();
    try {
      parser_.put_end();
    } catch (const std::runtime_error& error) {
      throw Wrong(error.what());
    }
    take_reply(worker_.now());
    return true;
  }

  ReplyParser parser_;
  std::string requests_;  // as many as may be sent at once
  std::string rest_;      // of what was received: the beginning of a header
  std::size_t reply_bytes_ = 0;
};

}  // namespace

std::shared_ptr<Client> make_http_client(Worker& worker, std::size_t number) {
  return std::make_shared<HttpClient>(worker, number);
}

}  // namespace tool::bench
