#include "net/file_range.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>

#include <tulp/error.hpp>

#include "base/sys.hpp"

namespace tulp::detail {

bool is_refused_by_sendfile(int error) noexcept {
  switch (error) {
    case EINVAL:
    case ENOSYS:
    case EOPNOTSUPP:
    case EBADF:
    case EIO:
    case EISDIR:
    case ENOMEM:
    case EOVERFLOW:
    case ESPIPE: return true;
    default: return false;
  }
}

/// A file that says how long it is spares the call that finds its end.  Those in /proc say 0.
FileRange::FileRange(int file, std::uint64_t offset, std::optional<std::uint64_t> count) noexcept
    : file_(file), offset_(offset), left_(count.value_or(std::numeric_limits<std::uint64_t>::max())) {
  struct stat status {};
  if (sys.fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
    const auto size = static_cast<std::uint64_t>(status.st_size);
    left_ = std::min(left_, size - std::min(size, offset));
  } else {
    is_size_known_ = count.has_value();
  }
}

std::size_t FileRange::next_chunk_bytes() const noexcept {
  return static_cast<std::size_t>(std::min<std::uint64_t>(left_, sendfile_chunk_bytes));
}

void FileRange::advance(std::size_t bytes) noexcept {
  sent_ += bytes;
  left_ -= bytes;
}

std::string_view FileRange::read(std::span<char> memory) const {
  const std::size_t size = std::min(memory.size(), next_chunk_bytes());
  const ssize_t got = retry_on_eintr([&] { return sys.pread(file_, memory.data(), size, position()); });
  if (got < 0) throw_os_error(errno, "sendfile: read descriptor " + std::to_string(file_));
  return {memory.data(), static_cast<std::size_t>(got)};
}

}  // namespace tulp::detail
