// Range requests: RFC 9110 section 14.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool::serve {

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;

  /// "bytes 0-99/1000".
  std::string in_words(std::uint64_t whole) const;
};
using Ranges = std::vector<Range>;

/// What a Range field asks for of so many bytes: nothing if the field does not count, for it is in another unit, makes no
/// sense, or asks for more than the whole or for too many pieces; an empty list if none of it is there.
std::optional<Ranges> parse_ranges(std::string_view field, std::uint64_t whole);

}  // namespace tool::serve
