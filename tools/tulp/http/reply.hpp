// Reply: what a server answers a request with.
#pragma once
#include <tulp/stream.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace tool::http {

/// Where the replies of a connection go, one after the other.
struct Outlet {
  tulp::StreamWriter& writer;
  std::uint64_t handed_bytes = 0;  ///< to the writer, so far
  std::string head = {};           ///< of the present reply, in memory that is used again
};

/// Either send(), or begin(), then write() or send_file() for each piece, and end().  A head goes with the piece after it.
/// Parks: all of them, while the client does not read.  Throws: as StreamWriter::write().
class Reply {
 public:
  Reply(Outlet& outlet, const RequestHead& request);
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  void send(unsigned status, std::string_view body, const Fields& fields = {});
  /// A body whose `length` is not known is sent in chunks.
  void begin(unsigned status, const Fields& fields = {}, std::optional<std::uint64_t> length = std::nullopt);
  /// The same with fields as they are sent: "Name: value\r\n" for each.
  void begin_with(std::string_view field_lines, unsigned status, std::optional<std::uint64_t> length);
  void write(std::string_view piece);
  /// A part of a file.  If it has become shorter, so does the body.
  void send_file(int file, std::uint64_t offset, std::uint64_t count);
  /// After the last piece.  What is short of its length can only be told by closing the connection.
  void end();

  bool has_begun() const noexcept { return body_ != Body::unknown; }
  /// Whether the connection can take another request.
  bool keeps_alive() const noexcept { return keeps_alive_; }
  void close_after() noexcept { keeps_alive_ = false; }

  bool is_head_request() const noexcept { return is_head_request_; }
  /// 0 before begin().
  unsigned status() const noexcept { return status_; }
  /// Of the body, so far.
  std::uint64_t body_bytes() const noexcept { return body_bytes_; }

 private:
  enum class Body { unknown, none, counted, chunked, until_close };

  void count(std::uint64_t bytes);
  void flush(std::string_view piece);

  Outlet& outlet_;
  const bool is_head_request_;
  const bool knows_chunks_;
  bool keeps_alive_;
  Body body_ = Body::unknown;
  unsigned status_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t left_bytes_ = 0;  // of a counted body
};

/// "404 Not Found", and then `why` if there is something to say, as a page of plain text.
void send_status(Reply& reply, unsigned status, std::string_view why = {}, Fields fields = {});

/// "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(std::int64_t unix_seconds);

}  // namespace tool::http
