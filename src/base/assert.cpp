#include <tulp/detail/assert.hpp>

#include <cstdio>
#include <cstdlib>

namespace tulp::detail {

void assertion_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr, "tulp: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace tulp::detail
