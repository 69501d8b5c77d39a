#include "http/reply.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <tulp/sendfile.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <span>
#include <stdexcept>
#include <utility>

namespace tool::http {
namespace {

/// What the writer queues at most, so that there is always to be seen how much it has not sent.
constexpr std::size_t piece_bytes = 32 * 1024;

void append_number(std::string& text, std::uint64_t number, int base = 10) {
  std::array<char, 24> digits{};
  text.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number, base).ptr);
}

/// The Server and Date fields, made once a second.
std::string_view server_and_date() {
  thread_local std::time_t second = -1;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != std::exchange(second, now)) text = "Server: tulp/" TULP_VERSION "\r\nDate: " + http_date(now) + "\r\n";
  return text;
}

/// While it lives, what is sent fills whole segments, so that a head and the file behind it are one to the peer.
class Cork {
 public:
  explicit Cork(const tulp::StreamWriter& writer) : socket_(writer.get_extra_info<int>("socket").value_or(-1)) {
    set(1);
  }
  Cork(const Cork&) = delete;
  Cork& operator=(const Cork&) = delete;
  ~Cork() { set(0); }

 private:
  void set(int is_on) const noexcept { ::setsockopt(socket_, IPPROTO_TCP, TCP_CORK, &is_on, sizeof is_on); }

  const int socket_;
};

}  // namespace

std::string http_date(std::int64_t unix_seconds) {
  const std::time_t time = unix_seconds;
  std::tm parts{};
  std::array<char, 40> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&time, &parts))};
}

void send_status(Reply& reply, unsigned status, std::string_view why, Fields fields) {
  std::string body = std::to_string(status) + " " + std::string(reason_phrase(status));
  if (!why.empty()) body.append(": ").append(why);
  fields.push_back({"Content-Type", "text/plain; charset=utf-8"});
  reply.send(status, body + "\n", fields);
}

Reply::Reply(Outlet& outlet, const RequestHead& request)
    : outlet_(outlet),
      is_head_request_(request.method == "HEAD"),
      knows_chunks_(request.version >= 11),
      keeps_alive_(request.keep_alive) {}

void Reply::send(unsigned status, std::string_view body, const Fields& fields) {
  begin(status, fields, body.size());
  write(body);
  end();
}

void Reply::begin(unsigned status, const Fields& fields, std::optional<std::uint64_t> length) {
  std::string lines;
  for (const Field& field : fields) lines += field.name + ": " + field.value + "\r\n";
  begin_with(lines, status, length);
}

void Reply::begin_with(std::string_view field_lines, unsigned status, std::optional<std::uint64_t> length) {
  if (has_begun()) throw std::logic_error("the reply has begun already");
  status_ = status;
  if (!length && !knows_chunks_) close_after();

  std::string& head = outlet_.head;
  head = "HTTP/1.1 ";
  append_number(head, status);
  head.append(" ").append(reason_phrase(status)).append("\r\n").append(server_and_date()).append(field_lines);
  if (length && status != 304) {  // there it would be that of another reply
    head += "Content-Length: ";
    append_number(head, *length);
    head += "\r\n";
  }
  if (!length && knows_chunks_) head += "Transfer-Encoding: chunked\r\n";
  head += keeps_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";

  body_ = is_head_request_ ? Body::none : length ? Body::counted : knows_chunks_ ? Body::chunked : Body::until_close;
  left_bytes_ = length.value_or(0);
}

/// Writes the head, if that has not been done, and a piece.
void Reply::flush(std::string_view piece) {
  const std::string_view first = piece.substr(0, piece_bytes);
  outlet_.handed_bytes += outlet_.head.size() + piece.size();
  if (outlet_.head.empty()) {
    outlet_.writer.write(first);
  } else {
    const std::array<std::string_view, 2> pieces{outlet_.head, first};
    outlet_.writer.writelines(std::span(pieces).first(first.empty() ? 1 : 2));
    outlet_.head.clear();
  }
  for (piece.remove_prefix(first.size()); !piece.empty(); piece.remove_prefix(std::min(piece.size(), piece_bytes)))
    outlet_.writer.write(piece.substr(0, piece_bytes));
}

void Reply::count(std::uint64_t bytes) {
  if (body_ == Body::unknown) throw std::logic_error("the reply has not begun");
  if (body_ == Body::counted) {
    if (bytes > left_bytes_) throw std::logic_error("the body is longer than its Content-Length");
    left_bytes_ -= bytes;
  }
  body_bytes_ += bytes;
}

void Reply::write(std::string_view piece) {
  if (body_ == Body::none || piece.empty()) return;  // an empty chunk would be the last one
  count(piece.size());
  if (body_ != Body::chunked) return flush(piece);
  std::string size;
  append_number(size, piece.size(), 16);
  flush(size + "\r\n");
  flush(piece);
  flush("\r\n");
}

void Reply::send_file(int file, std::uint64_t offset, std::uint64_t size) {
  if (body_ == Body::none || size == 0) return;
  if (body_ == Body::chunked) throw std::logic_error("a file needs a Content-Length");
  const Cork cork(outlet_.writer);
  if (!outlet_.head.empty()) flush({});
  outlet_.handed_bytes += size;
  count(tulp::sendfile(outlet_.writer.transport(), file, offset, size));
}

void Reply::end() {
  if (body_ == Body::chunked)
    flush("0\r\n\r\n");
  else if (!outlet_.head.empty())
    flush({});
  if (left_bytes_ > 0 && body_ == Body::counted) close_after();
  body_ = Body::none;
}

}  // namespace tool::http
