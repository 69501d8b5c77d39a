// format: printf's patterns, as a string.
#pragma once
#include <array>
#include <cstdio>
#include <string>

namespace tool {

/// Of at most 255 characters.
template <class... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

}  // namespace tool
