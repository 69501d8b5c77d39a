#include "serve/target.hpp"

#include <algorithm>
#include <optional>

namespace tool::serve {
namespace {

std::optional<unsigned> digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// Nothing if a '%' is not followed by two digits.
bool decode(std::string_view text, std::string& into) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      into += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const auto high = digit(text[i + 1]), low = digit(text[i + 2]);
    if (!high || !low) return false;
    into += static_cast<char>(*high << 4 | *low);
    i += 2;
  }
  return true;
}

Target refused(unsigned status, std::string_view why) { return {.status = status, .why = why}; }

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("/-._~").find(c) != std::string_view::npos;
}

}  // namespace

bool is_hidden(std::string_view name) { return name.starts_with('.') && name != ".well-known"; }

Target parse_target(std::string_view target, Hidden hidden) {
  Target found;
  const std::size_t query = std::min(target.find('?'), target.size());
  found.query = target.substr(query);
  for (std::string_view rest = target.substr(0, query); !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    const std::size_t begin = found.path.size();
    if (!decode(segment, found.path)) return refused(400, "a '%' without two hexadecimal digits");
    const std::string_view name = std::string_view(found.path).substr(begin);
    if (name.find('\0') != std::string_view::npos) return refused(400, "a NUL in the path");
    if (name == "." || name == "..") return refused(400, "the path has dots for a segment");
    if (name.find('/') != std::string_view::npos) return refused(404, {});  // no file's name has one
    if (hidden == Hidden::refused && is_hidden(name)) return refused(404, {});
    if (slash == std::string_view::npos) break;
    if (!name.empty()) found.path += '/';
    rest.remove_prefix(slash + 1);
  }
  return found;
}

std::string encode_path(std::string_view path) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_plain(c))
      text += c;
    else
      text.append({'%', digits[byte >> 4], digits[byte & 15]});
  }
  return text;
}

}  // namespace tool::serve
