#include "base/wake_up.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstdint>

#include <tulp/error.hpp>

#if __has_include(<sys/eventfd.h>)
#include <sys/eventfd.h>
#endif

namespace tulp {
namespace {

#ifdef EFD_NONBLOCK
constexpr int eventfd_flags = EFD_CLOEXEC | EFD_NONBLOCK;
#else
constexpr int eventfd_flags = 0;
#endif

}  // namespace

WakeUp::WakeUp() : heard_(sys.eventfd(0, eventfd_flags)) {
  if (heard_) return;
  if (errno != ENOSYS) throw_os_error(errno, "eventfd");
  int ends[2];
  if (sys.pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_os_error(errno, "pipe2");
  heard_ = UniqueFd(ends[0]);
  rung_ = UniqueFd(ends[1]);
}

void WakeUp::ring() const noexcept {
  const std::uint64_t one = 1;  // what an eventfd wants; a full pipe is heard as well
  retry_on_eintr([&] { return sys.write(rung_ ? rung_.get() : heard_.get(), &one, sizeof one); });
}

void WakeUp::drain() const noexcept {
  char rings[512];
  while (retry_on_eintr([&] { return sys.read(heard_.get(), rings, sizeof rings); }) == sizeof rings) {
  }
}

}  // namespace tulp
