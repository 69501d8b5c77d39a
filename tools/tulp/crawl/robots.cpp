#include "crawl/robots.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

namespace tool::crawl {
namespace {

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find_first_of("\r\n"));
  rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  return line;
}

struct Line {
  std::string_view key, value;
};

std::optional<Line> parse(std::string_view line) {
  line = line.substr(0, line.find('#'));
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return Line{trim(line.substr(0, colon)), trim(line.substr(colon + 1))};
}

/// "tulp" of "tulp/1.0 (a comment)".
std::string_view product_of(std::string_view agent) {
  const auto end = std::find_if_not(agent.begin(), agent.end(), [](char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
  });
  return agent.substr(0, static_cast<std::size_t>(end - agent.begin()));
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char small = lower(c);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/// One spelling of what can be written in several: RFC 9309 section 2.2.2.
std::string normalize(std::string_view path) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string text;
  for (std::size_t i = 0; i < path.size(); ++i) {
    auto byte = static_cast<unsigned char>(path[i]);
    const bool is_encoded =
        byte == '%' && i + 2 < path.size() && hex_value(path[i + 1]) >= 0 && hex_value(path[i + 2]) >= 0;
    if (is_encoded) {
      byte = static_cast<unsigned char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]));
      i += 2;
    }
    const bool is_unreserved =
        byte < 0x80 &&
        (std::isalnum(byte) != 0 || std::string_view("-._~").find(static_cast<char>(byte)) != std::string_view::npos);
    if (is_unreserved || (byte < 0x80 && !is_encoded)) {
      text += static_cast<char>(byte);
    } else {
      text += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return text;
}

/// Whether `pattern` fits the beginning of `path`.  Each piece between two '*' is taken where it is first found.
bool fits(std::string_view pattern, std::string_view path) {
  const bool is_anchored = pattern.ends_with('$');
  if (is_anchored) pattern.remove_suffix(1);
  for (bool is_first = true;; is_first = false) {
    const std::size_t star = pattern.find('*');
    const bool is_last = star == std::string_view::npos;
    const std::string_view piece = pattern.substr(0, star);
    std::size_t at = is_first ? (path.starts_with(piece) ? 0 : std::string_view::npos) : path.find(piece);
    if (is_last && is_anchored && !is_first)
      at = path.ends_with(piece) ? path.size() - piece.size() : std::string_view::npos;
    if (at == std::string_view::npos) return false;
    path.remove_prefix(at + piece.size());
    if (is_last) return !is_anchored || path.empty();
    pattern.remove_prefix(star + 1);
  }
}

}  // namespace

Robots::Robots(std::string_view text, std::string_view product) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<Rule> for_all;
  bool names_us = false, names_all = false;  // the group that a line stands in
  bool is_known = false;                     // there is a group for us
  bool had_rule = true;                      // another "User-agent:" begins a group
  while (!text.empty()) {
    const auto line = parse(take_line(text));
    if (!line) continue;
    if (equals_ignoring_case(line->key, "user-agent")) {
      if (std::exchange(had_rule, false)) names_us = names_all = false;
      names_all = names_all || line->value == "*";
      names_us = names_us || equals_ignoring_case(product_of(line->value), product);
      is_known = is_known || names_us;
      continue;
    }
    const bool is_allowing = equals_ignoring_case(line->key, "allow");
    if (!is_allowing && !equals_ignoring_case(line->key, "disallow")) continue;
    had_rule = true;
    if (line->value.empty()) continue;
    const Rule rule{normalize(line->value), is_allowing};
    if (names_us) rules_.push_back(rule);
    if (names_all) for_all.push_back(rule);
  }
  if (!is_known) rules_ = std::move(for_all);
}

bool Robots::allows(std::string_view target) const {
  const std::string path = normalize(target);
  const Rule* longest = nullptr;
  for (const Rule& rule : rules_) {
    const bool may_decide = longest == nullptr || rule.pattern.size() > longest->pattern.size() ||
                            (rule.pattern.size() == longest->pattern.size() && rule.is_allowing);
    if (may_decide && fits(rule.pattern, path)) longest = &rule;
  }
  return longest == nullptr || longest->is_allowing || path == "/robots.txt";
}

}  // namespace tool::crawl
