#include "process/pty.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>

#include <tulp/error.hpp>

namespace tulp::detail {

PtyEnds open_pty(const Pty& pty) {
  PtyEnds ends;
  ends.master = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  std::array<char, 128> path{};
  if (!ends.master || ::grantpt(ends.master.get()) != 0 || ::unlockpt(ends.master.get()) != 0 ||
      ::ptsname_r(ends.master.get(), path.data(), path.size()) != 0)
    throw_os_error(errno, "terminal for a child");
  ends.slave = UniqueFd(sys.open(path.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!ends.slave) throw_os_error(errno, path.data());
  const winsize size{.ws_row = pty.rows, .ws_col = pty.columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(ends.slave.get(), TIOCSWINSZ, &size);
  return ends;
}

}  // namespace tulp::detail
