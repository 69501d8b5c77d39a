#include "loop/environment.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace tulp {

Duration duration_from_environment(const char* name, Duration unit, const char* units) {
  const char* const text = std::getenv(name);
  if (text == nullptr || *text == '\0') return Duration::zero();
  const char* const end = text + std::strlen(text);
  int count = 0;
  const auto [rest, error] = std::from_chars(text, end, count);
  if (error != std::errc() || rest != end || count < 0)
    throw std::invalid_argument(std::string(name) + ": '" + text + "' is no number of " + units);
  return Duration(std::chrono::nanoseconds(unit) * count);
}

}  // namespace tulp
