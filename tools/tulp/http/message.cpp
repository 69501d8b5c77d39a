#include "http/message.hpp"

// Some of Beast's assertions do not hold for what strangers send: "0\r\n" and "\r" in two packets stops one.  Without
// them the code behind them answers correctly.
#define BOOST_DISABLE_ASSERTS
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace tool::http {
namespace {

namespace beast = boost::beast;
using Kind = BadMessage::Kind;

std::string in_kib(std::size_t bytes) { return std::to_string(bytes / 1024) + " KiB"; }

[[noreturn]] void fail_as_too_large(std::size_t limit_bytes) {
  throw BadMessage(Kind::too_large, "a header of more than " + in_kib(limit_bytes));
}

[[noreturn]] void fail_as_long_target(std::size_t limit_bytes) {
  throw BadMessage(Kind::long_target, "a request for a target of more than " + in_kib(limit_bytes));
}

std::string to_string(beast::string_view view) { return {view.data(), view.size()}; }
std::string_view to_view(beast::string_view view) { return {view.data(), view.size()}; }

/// Notes what Beast finds.  A piece of the body is not copied: it stays where it was received.
template <class HeadType>
class Parser final : public beast::http::basic_parser<std::is_same_v<HeadType, RequestHead>> {
  static constexpr bool is_request = std::is_same_v<HeadType, RequestHead>;

 public:
  Parser(HeadType& head, const MessageLimits& limits) : limits_(limits), head_(head) {
    this->body_limit(std::numeric_limits<std::uint64_t>::max());  // Boost 1.74 takes boost::none for a limit of nothing
    this->header_limit(static_cast<std::uint32_t>(limits.head_bytes));
    FieldViews fields;
    if constexpr (is_request) fields.swap(head.fields);  // for its memory
    fields.clear();
    head = {};
    if constexpr (is_request) head.fields.swap(fields);
  }

  std::string_view piece;

 private:
  using Error = beast::error_code;

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int version,
                       Error&) override {
    if constexpr (is_request) {
      head_.method = to_view(method);
      head_.target = to_view(target);
      head_.version = version;
      if (target.size() > limits_.target_bytes) fail_as_long_target(limits_.target_bytes);
    }
  }
  void on_response_impl(int status, beast::string_view reason, int version, Error&) override {
    if constexpr (!is_request) {
      head_.status = static_cast<unsigned>(status);
      head_.reason = to_view(reason);
      head_.version = version;
    }
  }
  void on_field_impl(beast::http::field field, beast::string_view name, beast::string_view value,
                     Error& error) override {
    if (this->is_header_done()) return;  // it is a trailer
    if (head_.fields.size() >= limits_.field_count)
      throw BadMessage(Kind::too_large, "a header of more than " + std::to_string(limits_.field_count) + " fields");
    if constexpr (is_request) {
      head_.fields.push_back({to_view(name), to_view(value)});
      check(field, value, error);
    } else {
      head_.fields.push_back({to_string(name), to_string(value)});
    }
  }
  /// Whoever stands between us and the client must not find another end of the message than we: RFC 9112 section 6.3.
  void check(beast::http::field field, beast::string_view value, Error& error) {
    using Name = beast::http::field;
    // A value of several lines is no more where it was received, and nobody may send one: RFC 9112 section 5.2.
    const std::string_view line = to_view(value);
    if (!line.empty() && !(line.data() >= head_.text.data() && line.data() < head_.text.data() + head_.text.size()))
      error = beast::http::error::bad_value;
    if (field == Name::content_length && std::exchange(has_length_, true))
      error = beast::http::error::bad_content_length;
    if (field != Name::transfer_encoding) return;
    if (std::exchange(has_encoding_, true) || head_.version < 11) error = beast::http::error::bad_transfer_encoding;
    if (!beast::iequals(value, "chunked"))
      throw BadMessage(Kind::unknown_coding, "a Transfer-Encoding other than chunked");
  }
  void on_header_impl(Error&) override {
    if constexpr (is_request) head_.is_chunked = this->chunked();
    head_.keep_alive = this->keep_alive();
    if (const auto length = this->content_length()) head_.content_length = *length;
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

  const MessageLimits& limits_;
  HeadType& head_;
  bool has_length_ = false;
  bool has_encoding_ = false;
};

}  // namespace

bool is_same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

const std::string* find(const Fields& fields, std::string_view name) {
  for (const Field& field : fields)
    if (is_same_name(field.name, name)) return &field.value;
  return nullptr;
}

std::optional<std::string_view> find(const FieldViews& fields, std::string_view name) {
  for (const FieldView& field : fields)
    if (is_same_name(field.name, name)) return field.value;
  return std::nullopt;
}

std::string_view reason_phrase(unsigned status) {
  const beast::string_view phrase = beast::http::obsolete_reason(beast::http::int_to_status(status));
  return {phrase.data(), phrase.size()};
}

template <class HeadType>
struct MessageReader<HeadType>::State {
  static constexpr bool is_request = std::is_same_v<HeadType, RequestHead>;
  /// Most requests are short, and many connections wait for one.
  static constexpr std::size_t first_bytes = 4 * 1024;

  State(tulp::StreamReader reader, const MessageLimits& its_limits) : stream(std::move(reader)), limits(its_limits) {}

  std::string_view unparsed() const { return {buffer.get() + begin, end - begin}; }
  bool receive();
  void make_room();
  bool receive_request();
  std::optional<std::size_t> find_end_of_head();
  void parse_request(std::size_t size);
  bool parse_some();

  tulp::StreamReader stream;
  const MessageLimits limits;
  std::size_t capacity = is_request ? std::min(first_bytes, limits.head_bytes) : limits.head_bytes;
  std::unique_ptr<char[]> buffer = std::make_unique_for_overwrite<char[]>(capacity);
  std::size_t begin = 0;  // what is received and not parsed yet stands between these
  std::size_t end = 0;
  std::size_t searched = 0;  // how much of what is unparsed is no whole head
  HeadType head;
  std::optional<Parser<HeadType>> parser;
  bool is_reply_to_head = false;
};

/// Adds to what is unparsed; false at the end of the stream.
template <class HeadType>
bool MessageReader<HeadType>::State::receive() {
  if (begin > 0) std::memmove(buffer.get(), buffer.get() + begin, end - begin);
  end -= std::exchange(begin, 0);
  if (end == capacity) make_room();
  const std::size_t size = stream.read_into({buffer.get() + end, capacity - end});
  end += size;
  return size > 0;
}

template <class HeadType>
void MessageReader<HeadType>::State::make_room() {
  const bool is_one_line = unparsed().find('\n') == std::string_view::npos;
  if (is_request && is_one_line && end > limits.target_bytes) fail_as_long_target(limits.target_bytes);
  if (capacity == limits.head_bytes) fail_as_too_large(limits.head_bytes);
  const std::size_t wanted = std::min(capacity * 2, limits.head_bytes);
  auto larger = std::make_unique_for_overwrite<char[]>(wanted);
  std::memcpy(larger.get(), buffer.get(), end);
  buffer = std::move(larger);
  capacity = wanted;
}

/// Receives a whole head of a request, so that what the parser finds in it stays where it is; false at the end of the
/// stream.  What cannot become a request is refused at once.
template <class HeadType>
bool MessageReader<HeadType>::State::receive_request() {
  searched = 0;
  bool has_begun = false;
  for (;;) {
    if (!has_begun && unparsed().starts_with("\r\n")) begin += 2;  // RFC 9112 section 2.2: one empty line is nothing
    if (begin < end) {
      has_begun = true;
      if (std::isalpha(static_cast<unsigned char>(buffer[begin])) == 0)
        throw BadMessage(Kind::malformed, "what came is no request");
      if (const auto size = find_end_of_head()) return parse_request(*size), true;
    }
    if (receive()) continue;
    if (begin == end) return false;
    throw BadMessage(Kind::malformed, "the connection ended within the header");
  }
}

/// The size of the head, if all of it is there.
template <class HeadType>
std::optional<std::size_t> MessageReader<HeadType>::State::find_end_of_head() {
  const std::string_view view = unparsed();
  for (std::size_t at = view.find('\n', searched); at != std::string_view::npos; at = view.find('\n', searched)) {
    if (at == 0 || view[at - 1] != '\r') throw BadMessage(Kind::malformed, "a line feed without a carriage return");
    searched = at + 1;
    if (at >= 3 && view[at - 2] == '\n') return at + 1;
  }
  searched = view.size();
  return std::nullopt;
}

template <class HeadType>
void MessageReader<HeadType>::State::parse_request(std::size_t size) {
  beast::error_code error;
  if constexpr (is_request) head.text = unparsed().substr(0, size);
  parser->put(boost::asio::const_buffer(buffer.get() + begin, size), error);
  if (error == beast::http::error::bad_version) throw BadMessage(Kind::unknown_version, error.message());
  if (error) throw BadMessage(Kind::malformed, error.message());
  begin += size;
}

/// Lets the parser have a response's head, or a part of a body; false if the stream ended first.
template <class HeadType>
bool MessageReader<HeadType>::State::parse_some() {
  for (;;) {
    if (begin < end) {
      beast::error_code error;
      const std::string_view view = unparsed();
      const bool is_head = !parser->is_header_done();
      const std::size_t size = parser->put(boost::asio::const_buffer(view.data(), view.size()), error);
      begin += size;
      if constexpr (!is_request) {
        if (is_head) head.text.append(view, 0, size);
        if (head.text.size() > limits.head_bytes) fail_as_too_large(limits.head_bytes);
      }
      if (error == beast::http::error::header_limit) fail_as_too_large(limits.head_bytes);
      if (!error) return true;
      if (error != beast::http::error::need_more) throw BadMessage(Kind::malformed, error.message());
    }
    if (!receive()) return false;
  }
}

template <class HeadType>
MessageReader<HeadType>::MessageReader(tulp::StreamReader stream, const MessageLimits& limits)
    : state_(std::make_unique<State>(std::move(stream), limits)) {}
template <class HeadType>
MessageReader<HeadType>::MessageReader(MessageReader&&) noexcept = default;
template <class HeadType>
MessageReader<HeadType>& MessageReader<HeadType>::operator=(MessageReader&&) noexcept = default;
template <class HeadType>
MessageReader<HeadType>::~MessageReader() = default;

template <class HeadType>
typename MessageReader<HeadType>::Found MessageReader<HeadType>::read_head() {
  State& state = *state_;
  state.parser.emplace(state.head, state.limits);
  if (state.is_reply_to_head) state.parser->skip(true);
  if constexpr (State::is_request) {
    return state.receive_request() ? &state.head : nullptr;
  } else {
    if (state.parse_some()) return std::move(state.head);
    if (!state.parser->got_some()) return std::nullopt;
    throw BadMessage(Kind::malformed, "the connection ended within the header");
  }
}

template <class HeadType>
std::string_view MessageReader<HeadType>::unparsed() const noexcept {
  return state_->unparsed();
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
  while (state_->stream.read_into({state_->buffer.get(), state_->capacity}) > 0) {
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
