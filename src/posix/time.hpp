// POSIX's spans of time.  Floor 8, posix.
#pragma once
#include <tulp/duration.hpp>

#include <chrono>
#include <ctime>

namespace tulp::detail {

/// More than fits is for ever.
inline Duration to_duration(std::time_t seconds, long nanoseconds) noexcept {
  constexpr std::time_t most_seconds = 9'000'000'000;
  if (seconds > most_seconds) return Duration::max();
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanoseconds);
}

inline bool is_valid(const timespec& time) noexcept {
  return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < 1'000'000'000;
}

}  // namespace tulp::detail
