#include "bench/reply_parser.hpp"

#define BOOST_DISABLE_ASSERTS  // as in http/message.cpp
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <limits>
#include <optional>
#include <stdexcept>

namespace tool::bench {
namespace {

namespace beast = boost::beast;

constexpr std::uint32_t head_limit_bytes = 64 * 1024;

/// Looks at everything, and notes next to nothing.
class Parser final : public beast::http::basic_parser<false> {
 public:
  explicit Parser(bool is_head) {
    this->body_limit(std::numeric_limits<std::uint64_t>::max());
    this->header_limit(head_limit_bytes);
    this->skip(is_head);
  }

  unsigned status = 0;
  std::uint64_t body_bytes = 0;

 private:
  using Error = beast::error_code;

  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, Error&) override {}
  void on_response_impl(int code, beast::string_view, int, Error&) override { status = static_cast<unsigned>(code); }
  void on_field_impl(beast::http::field, beast::string_view, beast::string_view, Error&) override {}
  void on_header_impl(Error&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
  std::size_t on_body_impl(beast::string_view body, Error&) override {
    body_bytes += body.size();
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, Error&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, Error& error) override {
    return on_body_impl(body, error);
  }
  void on_finish_impl(Error&) override {}
};

}  // namespace

struct ReplyParser::State {
  std::optional<Parser> parser;
};

ReplyParser::ReplyParser() : state_(std::make_unique<State>()) { begin(false); }
ReplyParser::~ReplyParser() = default;

void ReplyParser::begin(bool is_head) { state_->parser.emplace(is_head); }

std::size_t ReplyParser::put(std::string_view data) {
  Parser& parser = *state_->parser;
  std::size_t used = 0;
  while (used < data.size() && !parser.is_done()) {
    beast::error_code error;
    const std::size_t size = parser.put(boost::asio::const_buffer(data.data() + used, data.size() - used), error);
    used += size;
    if (error == beast::http::error::need_more) break;
    if (error) throw std::runtime_error("no HTTP: " + error.message());
    if (size == 0) break;
  }
  if (data.size() - used > head_limit_bytes && !parser.is_done())
    throw std::runtime_error("a header of more than 64 KiB");
  return used;
}

void ReplyParser::put_end() {
  beast::error_code error;
  state_->parser->put_eof(error);
  if (error) throw std::runtime_error("closed by the server within a reply");
}

bool ReplyParser::has_begun() const noexcept { return state_->parser->got_some(); }
bool ReplyParser::is_complete() const noexcept { return state_->parser->is_done(); }
unsigned ReplyParser::status() const noexcept { return state_->parser->status; }
std::uint64_t ReplyParser::body_bytes() const noexcept { return state_->parser->body_bytes; }
bool ReplyParser::keeps_alive() const noexcept { return state_->parser->keep_alive(); }

}  // namespace tool::bench
