// BlockPool: memory for small objects that are made on one thread and end on another.  Floor 1, base.
#pragma once
#include <array>
#include <cstddef>
#include <new>

namespace tulp::detail {

/// Blocks of one size.  Each thread has some at hand, and exchanges them with the others by hundreds: so a thread that
/// makes objects and one that ends them meet once in hundreds of objects, while with malloc, where memory belongs to the
/// thread that asked for it, they would meet at each.  After a burst the memory goes back to the system, but for some
/// MiB and what holds the blocks that threads have at hand.
/// Thread: any, also one that is ending.
template <std::size_t block_bytes>
class BlockPool {
 public:
  /// Throws: std::bad_alloc.
  static void* allocate() {
    Cache* const cache = cache_;
    if (cache == nullptr || cache->count == 0) [[unlikely]]
      return allocate_slowly();
    return cache->blocks[--cache->count];
  }
  static void free(void* block) noexcept {
    Cache* const cache = cache_;
    if (cache == nullptr || cache->count == cache->blocks.size()) [[unlikely]]
      return free_slowly(block);
    cache->blocks[cache->count++] = block;
  }

  /// How much memory there is, for all threads together; nothing if AddressSanitizer is to see each block.
  static std::size_t total_bytes() noexcept;

 private:
  struct Cache {
    std::size_t count = 0;
    std::array<void*, 1024> blocks;
  };
  struct CacheOwner;
  static Cache* make_cache() noexcept;
  static void* allocate_slowly();
  static void free_slowly(void* block) noexcept;

  [[gnu::tls_model("initial-exec")]] static constinit thread_local Cache* cache_;
};

extern template class BlockPool<64>;
extern template class BlockPool<96>;
extern template class BlockPool<288>;

/// Whether blocks of 288 bytes do not waste much: those are for tasks.
template <class T>
constexpr bool fits_large_block = sizeof(T) > 192 && sizeof(T) <= 288;

/// Memory for a T: a block if there are some of about its size.
template <class T>
void* allocate_for() {
  if constexpr (alignof(T) > alignof(std::max_align_t))
    return ::operator new(sizeof(T), std::align_val_t(alignof(T)));
  else if constexpr (sizeof(T) <= 64)
    return BlockPool<64>::allocate();
  else if constexpr (sizeof(T) <= 96)
    return BlockPool<96>::allocate();
  else if constexpr (fits_large_block<T>)
    return BlockPool<288>::allocate();
  else
    return ::operator new(sizeof(T));
}

template <class T>
void free_for(void* memory) noexcept {
  if constexpr (alignof(T) > alignof(std::max_align_t))
    ::operator delete(memory, std::align_val_t(alignof(T)));
  else if constexpr (sizeof(T) <= 64)
    BlockPool<64>::free(memory);
  else if constexpr (sizeof(T) <= 96)
    BlockPool<96>::free(memory);
  else if constexpr (fits_large_block<T>)
    BlockPool<288>::free(memory);
  else
    ::operator delete(memory);
}

}  // namespace tulp::detail
