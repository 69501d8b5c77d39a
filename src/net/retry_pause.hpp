// RetryPause: how long to wait for room of which nobody is told.  Floor 6, net.
#pragma once
#include <tulp/task.hpp>

#include <algorithm>
#include <chrono>

namespace tulp::detail {

class RetryPause {
 public:
  /// Parks: for 1 ms at first, then each time twice as long, up to 64 ms.
  void wait() {
    sleep(pause_);
    pause_ = std::min(2 * pause_, longest);
  }

 private:
  static constexpr std::chrono::milliseconds longest{64};
  std::chrono::milliseconds pause_{1};
};

}  // namespace tulp::detail
