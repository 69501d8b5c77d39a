// SlabPages: where slabs for blocks of all sizes come from.  Floor 1, base.
#pragma once
#include <cstddef>

#include "base/forkable_mutex.hpp"
#include "base/slab.hpp"

namespace tulp::detail {

/// Thread: any.
class SlabPages {
 public:
  /// One for the process.  It is not destroyed, because callbacks may end at the very end.
  static SlabPages& get();

  /// A slab that nobody else has, to be divided.  Throws: std::bad_alloc.
  Slab& take();
  /// All its blocks are free, and it is in no list.
  void give(Slab& slab) noexcept;
  /// Slab::size_bytes that are not to be divided; the heap's under AddressSanitizer, which is to see when they end.
  /// Throws: std::bad_alloc.
  static void* take_undivided();
  static void give_undivided(void* memory) noexcept;
  /// The memory of all slabs, used or not.
  std::size_t total_bytes() noexcept;

 private:
  SlabPages();
  void add_page();
  void drop(SlabPage& page) noexcept;
  void remember_as_thin(SlabPage& page) noexcept;

  ForkableMutex mutex_;
  IntrusiveList<Slab> unused_;
  SlabPage* thin_page_ = nullptr;  // of whose slabs few were used; maybe it will soon be empty, and go as a whole
  std::size_t page_count_ = 0;
  std::size_t unused_page_count_ = 0;  // of whose slabs none is used
  std::size_t used_count_ = 0;         // of slabs
  std::size_t with_memory_count_ = 0;
};

}  // namespace tulp::detail
