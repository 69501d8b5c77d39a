// RetryPause: how long to wait for room of which nobody is told.  Floor 6, net.
#pragma once
#include <tulp/task.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace tulp::detail {

class RetryPause {
 public:
  /// 1 ms at first, then each time twice as long, up to 64 ms.
  Duration next() noexcept { return std::exchange(pause_, std::min(2 * pause_, longest)); }
  /// There was room: the next one is the first again.
  void reset() noexcept { pause_ = first; }
  /// Parks: for next().
  void wait() { sleep(next()); }

 private:
  static constexpr std::chrono::milliseconds first{1}, longest{64};
  std::chrono::milliseconds pause_ = first;
};

}  // namespace tulp::detail
