// Pieces: what is written from several places in the caller's memory, and how far that has come.  Floor 6, transports.
#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace tulp::detail {

inline iovec to_iovec(std::string_view data) noexcept { return {const_cast<char*>(data.data()), data.size()}; }

class Pieces {
 public:
  explicit Pieces(std::span<const std::string_view> pieces) noexcept : pieces_(pieces) { consume(0); }

  bool empty() const noexcept { return pieces_.empty(); }
  /// How many are left, empty ones included.
  std::size_t count() const noexcept { return pieces_.size(); }
  /// What is left of the first one; never empty.
  std::string_view front() const noexcept { return pieces_.front().substr(consumed_of_first_); }

  /// Whether a part of the first one has been consumed.
  bool is_front_begun() const noexcept { return consumed_of_first_ > 0; }

  /// Puts what is left into `views`, as far as there is room; how many views that takes.
  std::size_t put_into(std::span<iovec> views) const noexcept {
    std::size_t count = 0;
    std::size_t consumed = consumed_of_first_;
    for (const std::string_view piece : pieces_) {
      if (count == views.size()) break;
      const std::string_view rest = piece.substr(std::exchange(consumed, 0));
      if (!rest.empty()) views[count++] = to_iovec(rest);
    }
    return count;
  }
  void consume(std::size_t bytes) noexcept {
    consumed_of_first_ += bytes;
    while (!pieces_.empty() && consumed_of_first_ >= pieces_.front().size()) {
      consumed_of_first_ -= pieces_.front().size();
      pieces_ = pieces_.subspan(1);
    }
  }
  void consume_front() noexcept { consume(front().size()); }
  void consume_all() noexcept { pieces_ = {}; }

 private:
  std::span<const std::string_view> pieces_;
  std::size_t consumed_of_first_ = 0;
};

}  // namespace tulp::detail
