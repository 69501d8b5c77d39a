#include "http/message.hpp"

// Some of Beast's assertions do not hold for what strangers send: "0\r\n" and "\r" in two packets stops one.  Without
// them the code behind them answers correctly.
#define BOOST_DISABLE_ASSERTS
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace tool::http {
namespace {

namespace beast = boost::beast;
using Kind = BadMessage::Kind;

[[noreturn]] void fail_as_too_large() { throw BadMessage(Kind::too_large, "a header of more than 64 KiB"); }

std::string to_string(beast::string_view view) { return {view.data(), view.size()}; }

/// Notes what Beast finds.  A piece of the body is not copied: it stays where it was received.
template <class HeadType>
class Parser final : public beast::http::basic_parser<std::is_same_v<HeadType, RequestHead>> {
  static constexpr bool is_request = std::is_same_v<HeadType, RequestHead>;

 public:
  Parser() {
    this->body_limit(std::numeric_limits<std::uint64_t>::max());  // Boost 1.74 takes boost::none for a limit of nothing
    this->header_limit(MessageReader<HeadType>::limit_bytes);
  }

  HeadType head;
  std::string_view piece;

 private:
  using Error = beast::error_code;

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int version,
                       Error&) override {
    if constexpr (is_request) {
      head.method = to_string(method);
      head.target = to_string(target);
      head.version = version;
    }
  }
  void on_response_impl(int status, beast::string_view reason, int version, Error&) override {
    if constexpr (!is_request) {
      head.status = static_cast<unsigned>(status);
      head.reason = to_string(reason);
      head.version = version;
    }
  }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, Error&) override {
    if (!this->is_header_done()) head.fields.push_back({to_string(name), to_string(value)});  // else it is a trailer
  }
  void on_header_impl(Error& error) override {
    // Where such a request ends nobody can know: RFC 9112 section 6.3.
    const bool is_endless = !this->chunked() && find(head.fields, "Transfer-Encoding") != nullptr;
    if (is_request && is_endless) error = beast::http::error::bad_transfer_encoding;
    head.keep_alive = this->keep_alive();
    if (const auto length = this->content_length()) head.content_length = *length;
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
  std::size_t on_body_impl(beast::string_view body, Error&) override {
    piece = {body.data(), body.size()};
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, Error&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, Error& error) override {
    return on_body_impl(body, error);
  }
  void on_finish_impl(Error&) override {}
};

}  // namespace

bool is_named(const Field& field, std::string_view name) {
  return beast::iequals(field.name, beast::string_view(name.data(), name.size()));
}

const std::string* find(const Fields& fields, std::string_view name) {
  for (const Field& field : fields) {
    if (is_named(field, name)) return &field.value;
  }
  return nullptr;
}

std::string_view reason_phrase(unsigned status) {
  const beast::string_view phrase = beast::http::obsolete_reason(beast::http::int_to_status(status));
  return {phrase.data(), phrase.size()};
}

template <class HeadType>
struct MessageReader<HeadType>::State {
  explicit State(tulp::StreamReader reader) : stream(std::move(reader)) {}

  std::string_view unparsed() const { return {buffer.get() + begin, end - begin}; }
  bool receive();
  bool parse_some();

  tulp::StreamReader stream;
  std::unique_ptr<char[]> buffer = std::make_unique_for_overwrite<char[]>(limit_bytes);
  std::size_t begin = 0;  // what is received and not parsed yet stands between these
  std::size_t end = 0;
  std::optional<Parser<HeadType>> parser;
  bool is_reply_to_head = false;
};

/// Adds to what is unparsed; false at the end of the stream.
template <class HeadType>
bool MessageReader<HeadType>::State::receive() {
  if (begin > 0) std::memmove(buffer.get(), buffer.get() + begin, end - begin);
  end -= std::exchange(begin, 0);
  if (end == limit_bytes) fail_as_too_large();
  const std::size_t size = stream.read_into({buffer.get() + end, limit_bytes - end});
  end += size;
  return size > 0;
}

/// Lets the parser have the head, or a part of the body; false if the stream ended first.
template <class HeadType>
bool MessageReader<HeadType>::State::parse_some() {
  for (;;) {
    if (begin < end) {
      beast::error_code error;
      const std::string_view view = unparsed();
      const bool is_head = !parser->is_header_done();
      const std::size_t size = parser->put(boost::asio::const_buffer(view.data(), view.size()), error);
      begin += size;
      if (is_head) parser->head.text.append(view, 0, size);
      if (parser->head.text.size() > limit_bytes || error == beast::http::error::header_limit) fail_as_too_large();
      if (!error) return true;
      if (error != beast::http::error::need_more) throw BadMessage(Kind::malformed, error.message());
    }
    if (!receive()) return false;
  }
}

template <class HeadType>
MessageReader<HeadType>::MessageReader(tulp::StreamReader stream)
    : state_(std::make_unique<State>(std::move(stream))) {}
template <class HeadType>
MessageReader<HeadType>::MessageReader(MessageReader&&) noexcept = default;
template <class HeadType>
MessageReader<HeadType>& MessageReader<HeadType>::operator=(MessageReader&&) noexcept = default;
template <class HeadType>
MessageReader<HeadType>::~MessageReader() = default;

template <class HeadType>
std::optional<HeadType> MessageReader<HeadType>::read_head() {
  state_->parser.emplace();
  if (state_->is_reply_to_head) state_->parser->skip(true);
  if (state_->parse_some()) return std::move(state_->parser->head);
  if (!state_->parser->got_some()) return std::nullopt;
  throw BadMessage(Kind::malformed, "the connection ended within the header");
}

template <class HeadType>
std::string_view MessageReader<HeadType>::read_body() {
  Parser<HeadType>& parser = *state_->parser;
  parser.piece = {};
  while (parser.piece.empty() && !parser.is_done()) {
    if (state_->parse_some()) continue;
    beast::error_code error;
    parser.put_eof(error);
    if (error) throw BadMessage(Kind::truncated, "the connection ended early");
  }
  return parser.piece;
}

template <class HeadType>
bool MessageReader<HeadType>::skip_body(std::size_t most_bytes) {
  while (const std::size_t size = read_body().size()) {
    if (size > most_bytes) return false;
    most_bytes -= size;
  }
  return true;
}

template <class HeadType>
void MessageReader<HeadType>::drain() {
  while (state_->stream.read_into({state_->buffer.get(), limit_bytes}) > 0) {
  }
}

template <class HeadType>
void MessageReader<HeadType>::set_reply_to_head(bool is_reply_to_head) {
  state_->is_reply_to_head = is_reply_to_head;
}

template <class HeadType>
bool MessageReader<HeadType>::is_between_messages() const {
  return state_->parser && state_->parser->is_done() && state_->unparsed().empty();
}

template class MessageReader<RequestHead>;
template class MessageReader<ResponseHead>;

}  // namespace tool::http
