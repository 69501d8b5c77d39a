#include "serve/folder.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "exit_code.hpp"

namespace tool::serve {
namespace {

/// A FIFO without a writer, or a terminal, must not hold us up.
constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

int open_beneath(int directory, const char* path) {
  open_how how{};
  how.flags = flags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, path, &how, sizeof how);
    // EAGAIN: something on the way was moved meanwhile, and the kernel could not be sure.
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return static_cast<int>(fd);
  }
}

/// Step by step, each without following a link: nothing that is moved or linked meanwhile can lead out.
int walk(int directory, std::string_view path) {
  Descriptor here;
  int at = directory;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
    const std::string name(path.substr(0, slash));
    Descriptor next(::openat(at, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return -1;
    here = std::move(next);
    at = here.get();
    path.remove_prefix(slash + 1);
  }
  return ::openat(at, path.empty() ? "." : std::string(path).c_str(), flags | O_NOFOLLOW);
}

int open_below(int directory, const std::string& path) {
  static std::atomic<bool> knows_beneath = true;  // the kernel, or what filters its calls
  if (knows_beneath.load(std::memory_order_relaxed)) {
    const int fd = open_beneath(directory, path.empty() ? "." : path.c_str());
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return fd;
    knows_beneath = false;
  }
  return walk(directory, path);
}

}  // namespace

Folder::Folder(const std::string& path) : directory_(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (!directory_) throw Failure(ExitCode::failed, path + ": " + std::strerror(errno));
}

Opened Folder::open(const std::string& path) const {
  Opened opened;
  opened.descriptor = Descriptor(open_below(directory_.get(), path));
  if (!opened.descriptor || ::fstat(opened.descriptor.get(), &opened.status) != 0)
    opened.error = errno == ENXIO ? EACCES : errno;  // a socket
  else if (!opened.is_file() && !opened.is_directory())
    opened.error = EACCES;
  return opened;
}

}  // namespace tool::serve
