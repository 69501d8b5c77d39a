// Slab: memory for blocks of one size.  Floor 1, base.
#pragma once
#include <tulp/detail/intrusive_list.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/huge_page.hpp"

namespace tulp::detail {

/// What is known of blocks side by side; they lie elsewhere.  Its functions have to be told how large they are.
class alignas(64) Slab : public ListHook<Slab> {
 public:
  static constexpr std::size_t size_bytes = 16 * 1024;
  static constexpr std::size_t capacity(std::size_t block_bytes) {
    return std::min<std::size_t>(256, size_bytes / block_bytes);
  }
  static inline Slab& of(const void* block) noexcept;

  /// All blocks are free.
  void divide(std::size_t block_bytes) noexcept {
    free_ = {};
    free_count_ = static_cast<std::uint32_t>(capacity(block_bytes));
    for (std::size_t i = 0; i < free_count_; ++i) free_[i / 64] |= bit(i);
  }
  std::size_t free_count() const noexcept { return free_count_; }

  /// At most `limit` blocks.  The last one is the first in memory: what is used in turn shall lie side by side.
  std::size_t take(void** into, std::size_t limit, std::size_t block_bytes) noexcept {
    char* const first_block = memory();
    std::uint32_t taken = 0;
    for (std::size_t word = free_.size(); word-- > 0;) {
      for (; free_[word] != 0 && taken < limit; ++taken) {
        const std::size_t highest = word * 64 + static_cast<std::size_t>(std::bit_width(free_[word])) - 1;
        free_[word] ^= bit(highest);
        into[taken] = first_block + highest * block_bytes;
      }
    }
    free_count_ -= taken;
    return taken;
  }
  void give(const void* block, std::size_t block_bytes) noexcept {
    const std::size_t index = reinterpret_cast<std::uintptr_t>(block) % size_bytes / block_bytes;
    free_[index / 64] |= bit(index);
    ++free_count_;
  }

 private:
  friend class SlabPage;
  friend class SlabPages;
  static constexpr std::uint64_t bit(std::size_t index) noexcept { return std::uint64_t{1} << index % 64; }
  inline char* memory() noexcept;

  std::uint32_t free_count_ = 0;
  bool is_used_ = false;
  bool has_memory_ = false;
  std::array<std::uint64_t, 4> free_{};  // a bit for each block
};

/// Slabs side by side.  An address in them tells the page and the slab.
class SlabPage {
 public:
  static constexpr std::size_t capacity =
      HugePage::size_bytes / Slab::size_bytes - 1;  // this object has the first place

  static SlabPage& of(const void* address) noexcept {
    return *reinterpret_cast<SlabPage*>(reinterpret_cast<std::uintptr_t>(address) & ~(HugePage::size_bytes - 1));
  }
  static void* operator new(std::size_t, HugePage::Use use) { return HugePage::map(use); }
  static void operator delete(void* page) noexcept { HugePage::unmap(page); }
  static void operator delete(void* page, HugePage::Use) noexcept { HugePage::unmap(page); }

  explicit SlabPage(HugePage::Use use) noexcept : use_(use) { static_assert(sizeof(SlabPage) <= Slab::size_bytes); }

  std::array<Slab, capacity>& slabs() noexcept { return slabs_; }
  char* memory_of(const Slab& slab) noexcept {
    return reinterpret_cast<char*>(this) + static_cast<std::size_t>(&slab - slabs_.data() + 1) * Slab::size_bytes;
  }
  std::size_t used_count() const noexcept { return used_count_; }
  std::size_t with_memory_count() const noexcept;

  /// Whether the slab gets memory by that.
  bool begin_use(Slab& slab) noexcept;
  void end_use(Slab& slab) noexcept {
    slab.is_used_ = false;
    --used_count_;
  }
  /// Gives the memory of slabs that are unused to the system, and says how many those were.
  std::size_t give_back_unused() noexcept;

 private:
  void use(HugePage::Use how) noexcept;

  HugePage::Use use_;
  std::size_t used_count_ = 0;
  std::array<Slab, capacity> slabs_;
};

inline Slab& Slab::of(const void* block) noexcept {
  const std::size_t place = reinterpret_cast<std::uintptr_t>(block) % HugePage::size_bytes / size_bytes;
  return SlabPage::of(block).slabs()[place - 1];
}
inline char* Slab::memory() noexcept { return SlabPage::of(this).memory_of(*this); }

}  // namespace tulp::detail
