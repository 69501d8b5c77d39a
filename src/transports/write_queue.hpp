// WriteQueue: bytes that the kernel has not taken yet.  Floor 6, transports.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace tulp::detail {

class WriteQueue {
 public:
  struct Memory {
    std::unique_ptr<char[]> bytes;
    std::size_t capacity = 0;
    void swap(Memory& other) noexcept {
      bytes.swap(other.bytes);
      std::swap(capacity, other.capacity);
    }
  };

  /// What an empty queue leaves goes to `spare`, which outlives it, and the next one with something to keep takes it from
  /// there: so a thousand connections that are written to in turn use the same few lines of the cache, and those that have
  /// nothing to send no memory.
  explicit WriteQueue(Memory& spare) noexcept : spare_(&spare) {}

  bool empty() const noexcept { return head_ == end_; }
  std::size_t size() const noexcept { return end_ - head_; }
  std::string_view view() const noexcept { return {memory_.bytes.get() + head_, size()}; }

  void append(std::string_view data) {
    if (memory_.bytes == nullptr) memory_.swap(*spare_);
    if (data.size() > memory_.capacity - end_) [[unlikely]]
      make_room(data.size());
    data.copy(memory_.bytes.get() + end_, data.size());
    end_ += data.size();
  }
  void consume(std::size_t count) noexcept {
    head_ += count;
    if (empty()) clear();
  }
  void clear() noexcept {
    constexpr std::size_t kept_bytes = 64 * 1024;  // what a burst took goes back
    head_ = end_ = 0;
    if (spare_->capacity < memory_.capacity && memory_.capacity <= kept_bytes) spare_->swap(memory_);
    if (memory_.bytes != nullptr) [[unlikely]]
      memory_ = {};
  }

 private:
  [[gnu::noinline]] void make_room(std::size_t more) {
    const std::size_t kept = size();
    if (more > memory_.capacity - kept || head_ < kept) {  // else each byte moves at most once on average
      constexpr std::size_t smallest_bytes = 256;
      const std::size_t capacity = std::max({smallest_bytes, 2 * memory_.capacity, kept + more});
      auto bytes = std::make_unique_for_overwrite<char[]>(capacity);
      view().copy(bytes.get(), kept);
      memory_ = {std::move(bytes), capacity};
    } else {
      std::memmove(memory_.bytes.get(), memory_.bytes.get() + head_, kept);
    }
    head_ = 0;
    end_ = kept;
  }

  Memory memory_;
  std::size_t head_ = 0;  // sent already
  std::size_t end_ = 0;
  Memory* spare_;
};

}  // namespace tulp::detail
