// Views: what is left of several pieces of memory.  Floor 8, posix.
#pragma once
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace tulp::detail {

/// Copies the caller's array only when a part of it is done.
class Views {
 public:
  Views(const iovec* views, std::size_t count) noexcept : data_(views), count_(count) {}

  const iovec* data() const noexcept { return data_; }
  int count() const noexcept { return static_cast<int>(count_); }
  std::size_t size_bytes() const noexcept {
    std::size_t size = 0;
    for (std::size_t i = 0; i < count_; ++i) size += data_[i].iov_len;
    return size;
  }
  void advance(std::size_t bytes) {
    if (rest_.empty()) rest_.assign(data_, data_ + count_);
    iovec* at = rest_.data() + (rest_.size() - count_);
    for (; count_ > 0 && bytes >= at->iov_len; --count_) bytes -= at++->iov_len;
    if (count_ > 0) {
      at->iov_base = static_cast<char*>(at->iov_base) + bytes;
      at->iov_len -= bytes;
    }
    data_ = at;
  }

 private:
  const iovec* data_;
  std::size_t count_;
  std::vector<iovec> rest_;
};

}  // namespace tulp::detail
