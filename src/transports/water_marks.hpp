// WaterMarks: how much may wait to be sent before a protocol is asked to pause.  Floor 6, transports.
#pragma once
#include <tulp/transport.hpp>

#include <cstddef>
#include <stdexcept>

namespace tulp::detail {

class WaterMarks {
 public:
  /// Throws: std::invalid_argument - low is above high.
  void set(WriteBufferLimits limits) {
    const std::size_t high = limits.high_bytes  ? *limits.high_bytes
                             : limits.low_bytes ? 4 * *limits.low_bytes
                                                : 64 * 1024;
    const std::size_t low = limits.low_bytes.value_or(high / 4);
    if (low > high) throw std::invalid_argument("set_write_buffer_limits: the low-water mark is above the high one");
    high_bytes_ = high;
    low_bytes_ = low;
  }
  WriteBufferLimits limits() const noexcept { return {.high_bytes = high_bytes_, .low_bytes = low_bytes_}; }
  /// Above this much writing pauses.
  std::size_t high_bytes() const noexcept { return high_bytes_; }
  /// At this much it goes on.
  std::size_t low_bytes() const noexcept { return low_bytes_; }

 private:
  std::size_t high_bytes_ = 64 * 1024;
  std::size_t low_bytes_ = 16 * 1024;
};

}  // namespace tulp::detail
