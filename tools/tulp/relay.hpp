// relay: what comes out of one stream goes into another, with bounded memory.
#pragma once
#include <tulp/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/page.hpp"

namespace tool {

/// How relay() came to its end.
struct RelayEnd {
  enum class How : std::uint8_t { at_end, cannot_read, cannot_write };
  How how = How::at_end;
  std::exception_ptr error = nullptr;  // unless at_end
};

/// Memory that the relays of a thread lend each other, that used last first: the processor still has it at hand, and a
/// connection that waits for something to read holds none.
class LentBuffer {
 public:
  explicit LentBuffer(std::size_t size) : size_(size) {
    std::vector<Memory>& kept = kept_ones();
    if (kept.empty() || kept.back().size != size) {
      memory_ = tulp::make_pages(size);
    } else {
      memory_ = std::move(kept.back().bytes);
      kept.pop_back();
    }
  }
  LentBuffer(const LentBuffer&) = delete;
  LentBuffer& operator=(const LentBuffer&) = delete;
  ~LentBuffer() {
    std::vector<Memory>& kept = kept_ones();
    if (kept.size() < kept.capacity()) kept.push_back({size_, std::move(memory_)});
  }

  std::span<char> bytes() noexcept { return {tulp::bytes_of(memory_), size_}; }

 private:
  struct Memory {
    std::size_t size;
    std::unique_ptr<tulp::Page[]> bytes;
  };
  /// No more than a few are in use at a time, unless receivers are slow.
  static std::vector<Memory>& kept_ones() {
    thread_local std::vector<Memory> ones = [] {
      std::vector<Memory> none;
      none.reserve(8);
      return none;
    }();
    return ones;
  }

  const std::size_t size_;
  std::unique_ptr<tulp::Page[]> memory_;
};

/// Moves what comes until that ends or fails, at most `buffer_bytes` at a time.  Calls `on_read()` when there is a piece, and
/// `on_moved(size)` when it is written.  That `to` ends too is the caller's to say.
/// Parks.  Cancel: what `from` has not given stays there; of the last piece some may not have been sent.
template <class F, class G>
RelayEnd relay(tulp::StreamReader& from, tulp::StreamWriter& to, std::size_t buffer_bytes, F on_read, G on_moved) {
  RelayEnd::How at = RelayEnd::How::cannot_read;
  try {
    for (;; from.wait_readable()) {
      LentBuffer memory(buffer_bytes);
      while (const auto size = from.try_read_into(memory.bytes())) {
        if (*size == 0) return {};
        at = RelayEnd::How::cannot_write;
        on_read();
        to.write({memory.bytes().data(), *size});
        on_moved(*size);
        at = RelayEnd::How::cannot_read;
      }
    }
  } catch (const std::exception&) {
    return {at, std::current_exception()};
  }
}

/// Tells the peer that nothing more will be written, in the words that it understands.
inline void end_writing(tulp::StreamWriter& to) {
  if (to.can_write_eof())
    to.write_eof();
  else
    to.write_close_notify();
}

}  // namespace tool
