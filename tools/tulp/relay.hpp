// relay: what comes out of one stream goes into another, with bounded memory.
#pragma once
#include <tulp/stream.hpp>

#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>

namespace tool {

/// How relay() came to its end.
struct RelayEnd {
  enum class How : std::uint8_t { at_end, cannot_read, cannot_write };
  How how = How::at_end;
  std::exception_ptr error = nullptr;  // unless at_end
};

/// The memory of a relay: little as long as little comes at a time, so that a connection which waits, or on which a person
/// types, costs next to nothing.
class RelayBuffer {
 public:
  explicit RelayBuffer(std::size_t most_bytes) : most_bytes_(most_bytes) {}

  std::span<char> memory() noexcept {
    if (large_) return {large_.get(), most_bytes_};
    return std::span(small_).first(std::min(small_.size(), most_bytes_));
  }
  /// Fits the memory to what has been read into it, and written again.
  void fit(std::size_t size) {
    if (large_ && size <= small_.size() / 2) large_.reset();
    if (!large_ && size == small_.size() && most_bytes_ > size)
      large_ = std::make_unique_for_overwrite<char[]>(most_bytes_);
  }

 private:
  const std::size_t most_bytes_;
  std::array<char, 4096> small_;
  std::unique_ptr<char[]> large_;
};

/// Moves what comes until that ends or fails, at most `buffer_bytes` at a time.  Calls `on_read()` when there is a piece, and
/// `on_moved(size)` when it is written.  That `to` ends too is the caller's to say.
/// Parks.  Cancel: what `from` has not given stays there; of the last piece some may not have been sent.
template <class F, class G>
RelayEnd relay(tulp::StreamReader& from, tulp::StreamWriter& to, std::size_t buffer_bytes, F on_read, G on_moved) {
  RelayBuffer buffer(buffer_bytes);
  RelayEnd::How at = RelayEnd::How::cannot_read;
  try {
    while (const std::size_t size = from.read_into(buffer.memory())) {
      at = RelayEnd::How::cannot_write;
      on_read();
      to.write({buffer.memory().data(), size});
      on_moved(size);
      buffer.fit(size);
      at = RelayEnd::How::cannot_read;
    }
    return {};
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
