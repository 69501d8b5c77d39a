// What this thread has used of its processor, to tell who waits from who spins.
#pragma once
#include <sys/resource.h>

#include <chrono>

namespace tulp::test {

inline std::chrono::microseconds cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto of = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace tulp::test
