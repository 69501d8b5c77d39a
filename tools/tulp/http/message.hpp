// Messages of HTTP/1.1 as they come in: a head, then a body in pieces.  Boost.Beast parses them, and message.cpp is the
// only file that knows: docs/decisions/0001-http-parser.md.
#pragma once
#include <tulp/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tool::http {

struct Field {
  std::string name;
  std::string value;
};
/// In the order in which they came.
using Fields = std::vector<Field>;

/// Whether these are the same, in whatever case.
bool is_same_name(std::string_view a, std::string_view b);
/// The value of the first field of this name; null if there is none.
const std::string* find(const Fields& fields, std::string_view name);

/// A field where it was received.
struct FieldView {
  std::string_view name;
  std::string_view value;
};
using FieldViews = std::vector<FieldView>;

/// As find() of Fields; nothing if there is none.
std::optional<std::string_view> find(const FieldViews& fields, std::string_view name);

/// "Not Found" for 404.
std::string_view reason_phrase(unsigned status);

/// What every message begins with.
struct Head {
  int version = 11;                                            ///< 10 for HTTP/1.0
  std::optional<std::uint64_t> content_length = std::nullopt;  ///< of the body, if it was told
  bool keep_alive = false;                                     ///< whether another message may follow
};

/// In place, until the next read.
struct RequestHead : Head {
  FieldViews fields = {};
  std::string_view text = {};  ///< all of it as it came, with the empty line
  std::string_view method = {};
  std::string_view target = {};
  bool is_chunked = false;

  bool has_body() const noexcept { return is_chunked || content_length.value_or(0) > 0; }
};

struct ResponseHead : Head {
  Fields fields = {};
  std::string text = {};  ///< as above
  unsigned status = 0;
  std::string reason = {};
};

/// The peer does not speak HTTP as it should.
class BadMessage : public std::runtime_error {
 public:
  enum class Kind { malformed, too_large, long_target, unknown_version, unknown_coding, truncated };
  BadMessage(Kind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

/// What a reader takes.
struct MessageLimits {
  std::size_t head_bytes = 64 * 1024;  ///< of a head, and of the line before a chunk
  std::size_t target_bytes = 64 * 1024;
  std::size_t field_count = 64 * 1024;
};

/// Reads one message after the other from a stream, in memory that is bounded by the limits.
/// Throws, from every read: BadMessage; what the stream throws.
template <class HeadType>
class MessageReader {
 public:
  /// A request's head stays where it was received; that of a response is given away.
  using Found = std::conditional_t<std::is_same_v<HeadType, RequestHead>, const RequestHead*, std::optional<HeadType>>;

  explicit MessageReader(tulp::StreamReader stream, const MessageLimits& limits = {});
  MessageReader(MessageReader&&) noexcept;
  MessageReader& operator=(MessageReader&&) noexcept;
  ~MessageReader();

  /// The next message's head, when the body before it has been read; nothing at the end of the stream.
  Found read_head();
  /// What has been received, and is no part of a message yet.
  std::string_view unparsed() const noexcept;
  /// The next piece of the body, in place until the next read; empty at its end.
  std::string_view read_body();
  /// Reads what is left of the body, or of the stream, if that is at most `most_bytes`; else false.
  bool skip_body(std::size_t most_bytes);
  /// Drops what comes until the end of the stream.
  void drain();

  // For replies.

  /// Whether those to come answer HEAD, and thus have no body, whatever their head says.
  void set_reply_to_head(bool is_reply_to_head);
  /// Whether a message has been read to its end, and nothing of another one.
  bool is_between_messages() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

using RequestReader = MessageReader<RequestHead>;
using ResponseReader = MessageReader<ResponseHead>;

}  // namespace tool::http
