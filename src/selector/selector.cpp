#include "selector/selector.hpp"

namespace tulp {

int to_poll_timeout(Duration timeout) noexcept {
  constexpr std::int64_t longest_ms =
      24 * 3600 * 1000;  // a loop that wakes once a day more than it must is idle enough
  if (timeout.is_never()) return -1;
  if (timeout <= Duration::zero()) return 0;
  const std::int64_t ms = timeout.nanoseconds() / 1'000'000 + (timeout.nanoseconds() % 1'000'000 != 0);
  return static_cast<int>(ms < longest_ms ? ms : longest_ms);
}

}  // namespace tulp
