#include "selector/selector.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include <tulp/error.hpp>

#include "base/sys.hpp"

namespace tulp {

std::span<const SelectorChoice> selector_choices() noexcept {
  static constexpr SelectorChoice choices[] = {
#if __has_include(<sys/epoll.h>)
    {"epoll", make_epoll_selector},
#endif
#if __has_include(<sys/event.h>)
    {"kqueue", make_kqueue_selector},
#endif
    {"poll", make_poll_selector},
    {"select", make_select_selector},
#if __has_include(<sys/epoll.h>)
    {"io_uring", make_ring_selector},
#endif
  };
  return choices;
}

Duration bounded(Duration timeout) noexcept {
  return std::clamp(timeout, Duration::zero(), Duration(std::chrono::hours(24)));
}

int to_poll_timeout(Duration timeout) noexcept {
  if (timeout.is_never()) return -1;
  const std::int64_t nanoseconds = bounded(timeout).nanoseconds();
  return static_cast<int>(nanoseconds / 1'000'000 + (nanoseconds % 1'000'000 != 0));
}

void check_watchable(int fd, const char* selector) {
  struct stat status {};
  const int error = sys.fstat(fd, &status) != 0                          ? errno
                    : S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ? EPERM
                                                                         : 0;
  if (error != 0) throw_os_error(error, std::string(selector) + " of descriptor " + std::to_string(fd));
}

}  // namespace tulp
