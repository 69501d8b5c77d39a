// ReaderState: what a StreamReader keeps between its calls.  Floor 8, streams.
#pragma once
#include <tulp/duration.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/page.hpp"
#include "streams/drain.hpp"

namespace tulp::detail {

class Stream;

struct ReaderState {
  /// The memory that a buffer keeps for the next read: a longest line within the usual limit, and one piece behind it.
  static constexpr std::size_t kept_bytes = 128 * 1024;

  // What each read touches comes first.
  bool is_at_end = false;
  bool is_busy = false;
  Drain* drain = nullptr;  // reads when nobody else does
  Duration timeout = Duration::max();
  std::string buffer;    // bytes that a read had to look at, and did not return
  std::size_t head = 0;  // how many of them have been consumed
  Stream& stream;
  std::size_t limit_bytes;
  std::unique_ptr<Page[]> view_memory;  // for read_view()

  ReaderState(Stream& its_stream, std::size_t limit) noexcept : stream(its_stream), limit_bytes(limit) {}
  ReaderState(const ReaderState&) = delete;
  ReaderState& operator=(const ReaderState&) = delete;
  ~ReaderState() {
    if (drain != nullptr) drain->leave();
  }

  std::string_view buffered() const noexcept { return std::string_view(buffer).substr(head); }
  void consume(std::size_t count) {
    const std::size_t left = buffered().size() - count;
    if (buffer.capacity() > kept_bytes && left <= kept_bytes / 2) {  // the time of much is over
      std::string(buffered().substr(count)).swap(buffer);
      head = 0;
    } else if (left == 0) {
      buffer.clear();
      head = 0;
    } else {
      head += count;
    }
  }
  void keep(std::string_view data) {
    if (head > buffer.size() / 2) {
      buffer.erase(0, head);
      head = 0;
    }
    buffer.append(data);
  }
  std::string take(std::size_t count) {
    if (count >= buffer.size() && head == 0 && buffer.size() >= kept_bytes / 2 &&
        buffer.size() >= buffer.capacity() / 2)
      return std::exchange(buffer, {});  // much of it, and little else: not copied
    std::string taken(buffered().substr(0, count));
    consume(taken.size());
    return taken;
  }
};

}  // namespace tulp::detail
