// A small server of HTTP/1.1, for GET and HEAD: a task per connection, a callback per route.
#pragma once
#include <tulp/server.hpp>
#include <tulp/stream.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace tool::http {

/// What a route answers with: either send(), or begin() and then write() for each piece.
/// Parks: all three, while the client does not read.  Throws: as StreamWriter::write().
class Reply {
 public:
  Reply(tulp::StreamWriter& writer, const RequestHead& request);

  void send(unsigned status, std::string_view body, Fields fields = {});
  /// A body whose `length` is not known is sent in chunks.
  void begin(unsigned status, Fields fields = {}, std::optional<std::uint64_t> length = std::nullopt);
  void write(std::string_view piece);
  /// After the last piece.  What is short of its length can only be told by closing the connection.
  void end();

  bool has_begun() const noexcept { return body_ != Body::unknown; }
  /// Whether the connection can take another request.
  bool keeps_alive() const noexcept { return keeps_alive_; }
  void close_after() noexcept { keeps_alive_ = false; }

 private:
  enum class Body { unknown, none, counted, chunked, until_close };

  tulp::StreamWriter& writer_;
  const bool is_head_request_;
  const bool knows_chunks_;
  bool keeps_alive_;
  Body body_ = Body::unknown;
  std::uint64_t left_bytes_ = 0;  // of a counted body
};

using Route = std::function<void(const RequestHead& request, Reply& reply)>;
/// By path; one that ends with '/' stands for all below it too, if no longer one fits.
using Routes = std::map<std::string, Route>;

/// Serves until the Server is closed.  A route that throws is answered with 500, or, once it has begun, by closing.
/// With `ssl` it speaks https.  Parks and throws: as tulp::start_server().
tulp::Server start_server(Routes routes, std::string host, std::uint16_t port,
                          std::optional<tulp::SslContext> ssl = std::nullopt);

}  // namespace tool::http
