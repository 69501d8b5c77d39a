// UniqueFd: a file descriptor with one owner.  Floor 1, base.
#pragma once
#include <utility>

#include "base/sys.hpp"

namespace tulp {

/// Closes its descriptor when it dies.  An error of close(2) is ignored: what mattered was flushed before.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept {
    if (fd_ >= 0) sys.close(release());
  }

 private:
  int fd_ = -1;
};

}  // namespace tulp
