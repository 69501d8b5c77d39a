#include "serve/access_log.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <utility>

namespace tool::serve {
namespace {

/// Of what came instead of a request, or a long field; the head is bounded by itself, but not every byte is worth it.
constexpr std::size_t most_shown_bytes = 1024;

void append_number(std::string& line, std::uint64_t number) {
  std::array<char, 24> digits{};
  line.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
}

/// Made once a second.
std::string_view time_now() {
  thread_local std::time_t second = -1;
  thread_local std::array<char, 40> text{};
  thread_local std::size_t size = 0;
  const std::time_t now = std::time(nullptr);
  if (now != std::exchange(second, now)) {
    std::tm parts{};
    size = std::strftime(text.data(), text.size(), " - - [%d/%b/%Y:%H:%M:%S +0000] ", ::gmtime_r(&now, &parts));
  }
  return {text.data(), size};
}

void append_quoted(std::string& line, std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  line += '"';
  for (const char c : text.empty() ? std::string_view("-") : text.substr(0, most_shown_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\')
      line.append({'\\', 'x', digits[byte >> 4], digits[byte & 15]});
    else
      line += c;
  }
  line += '"';
}

}  // namespace

void format_access(std::string& line, std::string_view peer, const http::RequestHead& request,
                   const http::Reply& reply) {
  line.assign(peer).append(time_now());
  append_quoted(line, request.text.substr(0, request.text.find_first_of("\r\n")));
  line += ' ';
  append_number(line, reply.status());
  line += ' ';
  append_number(line, reply.body_bytes());
  line += ' ';
  append_quoted(line, find(request.fields, "Referer").value_or("-"));
  line += ' ';
  append_quoted(line, find(request.fields, "User-Agent").value_or("-"));
}

}  // namespace tool::serve
