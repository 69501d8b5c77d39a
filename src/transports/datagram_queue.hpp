// DatagramQueue: whole datagrams, in order, on their way out or in.  Floor 6, transports.
#pragma once
#include <tulp/address.hpp>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "transports/write_queue.hpp"

namespace tulp::detail {

class DatagramQueue {
 public:
  bool empty() const noexcept { return head_ == entries_.size(); }
  std::size_t count() const noexcept { return entries_.size() - head_; }
  /// What the datagrams hold; an empty one counts as a byte, so that no limit lets any number of them in.
  std::size_t size_bytes() const noexcept { return bytes_.size() + empty_count_; }

  void push(std::string_view data, const Address& address) {
    if (head_ > entries_.size() / 2) {  // moves each entry at most once on average
      entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
    entries_.push_back({address, data.size()});
    bytes_.append(data);
    empty_count_ += data.empty();
  }
  /// Calls `use(data, address)` with the oldest ones, at most `count` of them.
  template <class Use>
  void for_first(std::size_t count, Use use) const {
    std::size_t offset = 0;
    for (std::size_t i = head_; i < std::min(entries_.size(), head_ + count); ++i) {
      use(bytes_.view().substr(offset, entries_[i].size), entries_[i].address);
      offset += entries_[i].size;
    }
  }
  /// The oldest one; there must be one.
  std::string_view front() const noexcept { return bytes_.view().substr(0, entries_[head_].size); }
  const Address& front_address() const noexcept { return entries_[head_].address; }
  void pop(std::size_t count = 1) noexcept {
    for (; count > 0; --count) {
      const std::size_t size = entries_[head_++].size;
      empty_count_ -= size == 0;
      bytes_.consume(size);
    }
    if (empty()) clear();
  }
  /// Keeps memory for the next few, and gives back what a burst took.
  void clear() noexcept {
    constexpr std::size_t kept_count = 64;
    if (entries_.capacity() > kept_count)
      std::vector<Entry>().swap(entries_);
    else
      entries_.clear();
    bytes_.clear();
    head_ = empty_count_ = 0;
  }

 private:
  struct Entry {
    Address address;
    std::size_t size;
  };
  std::vector<Entry> entries_;
  std::size_t head_ = 0;  // gone already
  WriteQueue bytes_;
  std::size_t empty_count_ = 0;
};

}  // namespace tulp::detail
