#include "serve/ranges.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace tool::serve {
namespace {

/// Whoever asks for more pieces, or for some of them twice, gets the whole: it is never more work than that.
constexpr std::size_t most_ranges = 16;

std::string_view trim(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  const std::size_t end = text.find_last_not_of(" \t") + 1;
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

/// Digits alone; what is beyond all numbers is the largest one.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() ? number : std::numeric_limits<std::uint64_t>::max();
}

/// Of one range; its size is 0 if nothing of it is there.
std::optional<Range> parse_range(std::string_view text, std::uint64_t whole) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view last_text = text.substr(dash + 1);
  const auto last = parse_number(last_text);
  if (!last && !last_text.empty()) return std::nullopt;
  if (dash == 0) {
    if (!last) return std::nullopt;
    const std::uint64_t size = std::min(*last, whole);
    return Range{whole - size, size};
  }
  const auto first = parse_number(text.substr(0, dash));
  if (!first || (last && *last < *first)) return std::nullopt;
  if (*first >= whole) return Range{};
  return Range{*first, std::min(last.value_or(whole), whole - 1) - *first + 1};
}

}  // namespace

std::string Range::in_words(std::uint64_t whole) const {
  return "bytes " + std::to_string(begin) + "-" + std::to_string(begin + size - 1) + "/" + std::to_string(whole);
}

std::optional<Ranges> parse_ranges(std::string_view field, std::uint64_t whole) {
  constexpr std::string_view unit = "bytes=";
  if (!field.starts_with(unit)) return std::nullopt;
  field.remove_prefix(unit.size());
  Ranges ranges;
  std::uint64_t total = 0;
  std::size_t count = 0;
  while (!field.empty()) {
    const std::size_t comma = std::min(field.find(','), field.size());
    const auto range = parse_range(trim(field.substr(0, comma)), whole);
    if (!range || ++count > most_ranges) return std::nullopt;
    field.remove_prefix(std::min(comma + 1, field.size()));
    if (range->size == 0) continue;
    total += range->size;
    if (total > whole) return std::nullopt;
    ranges.push_back(*range);
  }
  return count > 0 ? std::optional(ranges) : std::nullopt;
}

}  // namespace tool::serve
