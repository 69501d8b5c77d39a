// WriteQueue: bytes that the kernel has not taken yet.  Floor 6, transports.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace tulp::detail {

/// Memory for bytes, of which nothing else is known.
struct ByteMemory {
  std::unique_ptr<char[]> bytes;
  std::size_t capacity = 0;
};

/// What queues leave that have become empty, for the next ones with something to keep, the warmest first: so a thousand
/// connections that are written to in turn use the same few lines of the cache, and those that have nothing to send no
/// memory.  A task may write to as many as there is room for here, and nothing is allocated.
class SpareMemory {
 public:
  ByteMemory take() noexcept {
    if (count_ == 0) return {};
    bytes_ -= spares_[--count_].capacity;
    return std::exchange(spares_[count_], {});
  }
  void give(ByteMemory memory) noexcept {
    constexpr std::size_t most_bytes = 256 * 1024;
    if (count_ == spares_.size() || bytes_ + memory.capacity > most_bytes) return;
    bytes_ += memory.capacity;
    spares_[count_++] = std::move(memory);
  }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  std::array<ByteMemory, 256> spares_;
};

class WriteQueue {
 public:
  /// Keeps the memory for its own next writes.
  WriteQueue() = default;
  /// Leaves the memory to `spare`, which outlives it.
  explicit WriteQueue(SpareMemory& spare) noexcept : spare_(&spare) {}

  bool empty() const noexcept { return head_ == end_; }
  std::size_t size() const noexcept { return end_ - head_; }
  std::string_view view() const noexcept { return {memory_.bytes.get() + head_, size()}; }

  void append(std::string_view data) {
    if (memory_.bytes == nullptr && spare_ != nullptr) memory_ = spare_->take();
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
    if (memory_.capacity > kept_bytes)
      memory_ = {};
    else if (memory_.bytes != nullptr && spare_ != nullptr)
      spare_->give(std::exchange(memory_, {}));
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

  ByteMemory memory_;
  std::size_t head_ = 0;  // sent already
  std::size_t end_ = 0;
  SpareMemory* spare_ = nullptr;
};

}  // namespace tulp::detail
