// ReplyParser: replies of HTTP/1.1, of which nothing is kept but what a benchmark checks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace tool::bench {

/// It is fed pieces of a connection, and stops after each reply.
class ReplyParser {
 public:
  ReplyParser();
  ~ReplyParser();

  /// Gets ready for the next reply.  That to a HEAD has no body.
  void begin(bool is_head);
  /// Takes as many bytes as it can use; what it leaves before the reply is_complete() comes again with more behind it.
  /// Throws: std::runtime_error - it is no HTTP.
  std::size_t put(std::string_view data);
  /// The connection has ended.  Throws: std::runtime_error - the reply has not.
  void put_end();

  bool has_begun() const noexcept;
  bool is_complete() const noexcept;
  unsigned status() const noexcept;
  std::uint64_t body_bytes() const noexcept;
  /// Whether the connection can have another reply.
  bool keeps_alive() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tool::bench
