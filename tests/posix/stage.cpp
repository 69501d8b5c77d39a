#include "posix/stage.hpp"

#include <netdb.h>

#include <cstring>
#include <ctime>

namespace tulp::test {

void Stage::pause(int milliseconds) const {
  const timespec time{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  calls.nanosleep(&time, nullptr);
}

double Stage::now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::string Stage::outcome(long result) {
  const int error = errno;
  std::string text = std::to_string(result);
  if (error != 0) text += std::string(" ") + ::strerrorname_np(error);
  return text;
}

}  // namespace tulp::test
