// BlockPool: memory for small objects that are made on one thread and end on another.  Floor 1, base.
#pragma once
#include <algorithm>
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
extern template class BlockPool<256>;
extern template class BlockPool<320>;
extern template class BlockPool<640>;

/// How much memory all pools have, for all threads together; nothing if AddressSanitizer is to see each block.
std::size_t pooled_bytes() noexcept;

/// Blocks lie side by side from the beginning of a page.
template <std::size_t block_bytes>
inline constexpr std::size_t block_alignment = std::min<std::size_t>(block_bytes & -block_bytes, 64);

/// The size of the blocks for objects of `bytes`; 0 if those are malloc's.
constexpr std::size_t block_bytes_for(std::size_t bytes) {
  if (bytes <= 96) return bytes <= 64 ? 64 : 96;
  if (bytes <= 192 || bytes > 640) return 0;
  return bytes <= 256 ? 256 : bytes <= 320 ? 320 : 640;
}

/// Memory for a T: a block if there are some of about its size.
template <class T>
void* allocate_for() {
  constexpr std::size_t block_bytes = block_bytes_for(sizeof(T));
  if constexpr (block_bytes != 0 && alignof(T) <= block_alignment<block_bytes>)
    return BlockPool<block_bytes>::allocate();
  else if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    return ::operator new(sizeof(T), std::align_val_t(alignof(T)));
  else
    return ::operator new(sizeof(T));
}

template <class T>
void free_for(void* memory) noexcept {
  constexpr std::size_t block_bytes = block_bytes_for(sizeof(T));
  if constexpr (block_bytes != 0 && alignof(T) <= block_alignment<block_bytes>)
    BlockPool<block_bytes>::free(memory);
  else if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    ::operator delete(memory, std::align_val_t(alignof(T)));
  else
    ::operator delete(memory);
}

/// For std::allocate_shared().
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) noexcept {}
  T* allocate(std::size_t) { return static_cast<T*>(allocate_for<T>()); }
  void deallocate(T* memory, std::size_t) noexcept { free_for<T>(memory); }
  bool operator==(const PoolAllocator&) const noexcept { return true; }
};

}  // namespace tulp::detail
