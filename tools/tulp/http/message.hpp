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
#include <vector>

namespace tool::http {

struct Field {
  std::string name;
  std::string value;
};
/// In the order in which they came.
using Fields = std::vector<Field>;

/// Whether it has this name, in whatever case.
bool is_named(const Field& field, std::string_view name);

/// The value of the first field of this name, in whatever case; null if there is none.
const std::string* find(const Fields& fields, std::string_view name);

/// "Not Found" for 404.
std::string_view reason_phrase(unsigned status);

/// What every message begins with.
struct Head {
  int version = 11;  ///< 10 for HTTP/1.0
  Fields fields = {};
  std::optional<std::uint64_t> content_length = std::nullopt;  ///< of the body, if it was told
  bool keep_alive = false;                                     ///< whether another message may follow
  std::string text = {};                                       ///< all of it as it came, with the empty line
};

struct RequestHead : Head {
  std::string method = {};
  std::string target = {};
};

struct ResponseHead : Head {
  unsigned status = 0;
  std::string reason = {};
};

/// The peer does not speak HTTP as it should.
class BadMessage : public std::runtime_error {
 public:
  enum class Kind { malformed, too_large, truncated };
  BadMessage(Kind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

/// Reads one message after the other from a stream, in memory that does not grow.
/// Throws, from every read: BadMessage; what the stream throws.
template <class HeadType>
class MessageReader {
 public:
  /// How long a head may be, and the line before a chunk.
  static constexpr std::size_t limit_bytes = 64 * 1024;

  explicit MessageReader(tulp::StreamReader stream);
  MessageReader(MessageReader&&) noexcept;
  MessageReader& operator=(MessageReader&&) noexcept;
  ~MessageReader();

  /// The next message's head, when the body before it has been read; nothing at the end of the stream.
  std::optional<HeadType> read_head();
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
