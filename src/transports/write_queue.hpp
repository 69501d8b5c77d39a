// WriteQueue: bytes that the kernel has not taken yet.  Floor 6, transports.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace tulp::detail {

class WriteQueue {
 public:
  bool empty() const noexcept { return head_ == bytes_.size(); }
  std::size_t size() const noexcept { return bytes_.size() - head_; }
  std::string_view view() const noexcept { return std::string_view(bytes_).substr(head_); }

  void append(std::string_view data) {
    if (head_ > bytes_.size() / 2) {  // moves each byte at most once on average
      bytes_.erase(0, head_);
      head_ = 0;
    }
    bytes_.append(data);
  }
  void consume(std::size_t count) noexcept {
    head_ += count;
    if (empty()) clear();
  }
  /// Keeps memory for the next small writes, and gives back what a burst took.
  void clear() noexcept {
    constexpr std::size_t kept_bytes = 64 * 1024;
    if (bytes_.capacity() > kept_bytes)
      std::string().swap(bytes_);
    else
      bytes_.clear();
    head_ = 0;
  }

 private:
  std::string bytes_;
  std::size_t head_ = 0;  // sent already
};

}  // namespace tulp::detail
