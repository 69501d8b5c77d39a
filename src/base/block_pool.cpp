#include <tulp/detail/block_pool.hpp>

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>

#include <tulp/detail/intrusive_list.hpp>

#include "base/forkable_mutex.hpp"
#include "base/sanitizers.hpp"

namespace tulp::detail {
namespace {

constexpr std::size_t slab_bytes = 16 * 1024;
constexpr std::size_t most_unused_slabs = 64;  // which are kept

/// Blocks in one piece of memory, which is aligned to its size, so that a block's address tells the slab.
template <std::size_t block_bytes>
class Slab : public ListHook<Slab<block_bytes>> {
 public:
  static constexpr std::size_t header_bytes = 64;
  static constexpr std::size_t capacity = std::min<std::size_t>(256, (slab_bytes - header_bytes) / block_bytes);

  static Slab& of(void* block) noexcept {
    return *reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(block) & ~(slab_bytes - 1));
  }
  static void* operator new(std::size_t) { return ::operator new(slab_bytes, std::align_val_t(slab_bytes)); }
  static void operator delete(void* slab) noexcept { ::operator delete(slab, std::align_val_t(slab_bytes)); }

  Slab() noexcept {
    static_assert(sizeof(Slab) <= header_bytes);
    for (std::size_t i = 0; i < capacity; ++i) free_[i / 64] |= bit(i);
  }
  std::size_t free_count() const noexcept { return free_count_; }

  /// At most `limit` blocks.  The last one is the first in memory: what is used in turn shall lie side by side.
  std::size_t take(void** into, std::size_t limit) noexcept {
    std::size_t taken = 0;
    for (std::size_t word = free_.size(); word-- > 0;) {
      for (; free_[word] != 0 && taken < limit; ++taken) {
        const std::size_t highest = word * 64 + static_cast<std::size_t>(std::bit_width(free_[word])) - 1;
        free_[word] ^= bit(highest);
        into[taken] = first_block() + highest * block_bytes;
      }
    }
    free_count_ -= taken;
    return taken;
  }
  void give(void* block) noexcept {
    const auto index = static_cast<std::size_t>(static_cast<char*>(block) - first_block()) / block_bytes;
    free_[index / 64] |= bit(index);
    ++free_count_;
  }

 private:
  static constexpr std::uint64_t bit(std::size_t index) noexcept { return std::uint64_t{1} << index % 64; }
  char* first_block() noexcept { return reinterpret_cast<char*>(this) + header_bytes; }

  std::size_t free_count_ = capacity;
  std::array<std::uint64_t, 4> free_{};  // a bit for each block
};

/// What no thread has at hand.
template <std::size_t block_bytes>
class Depot {
 public:
  static constexpr std::size_t batch = 256;  // what changes hands at a time
  using Blocks = Slab<block_bytes>;

  /// One for the process.  It is not destroyed, because callbacks may end at the very end.
  static Depot& get() {
    static Depot& depot = *new Depot;
    return depot;
  }

  /// A batch that some thread gave, to be used in the order in which it was freed; else what one slab has, at least one
  /// block.  Throws: std::bad_alloc.
  std::size_t take(void** into) {
    const std::lock_guard lock(mutex_);
    if (batch_count_ > 0) {
      const auto& last = batches_[--batch_count_];
      std::reverse_copy(last.begin(), last.end(), into);
      return batch;
    }
    if (partly_used_.empty()) add_slab();
    Blocks& slab = partly_used_.back();
    const std::size_t taken = slab.take(into, batch);
    free_count_ -= taken;
    if (slab.free_count() == 0) slab.unlink();
    return taken;
  }

  void give(void* const* blocks, std::size_t count) noexcept {
    const std::lock_guard lock(mutex_);
    if (count == batch && batch_count_ < batches_.size() && !is_after_burst()) {
      std::copy_n(blocks, batch, batches_[batch_count_++].begin());
      return;
    }
    give_to_slabs(blocks, count);
    while (is_after_burst() && batch_count_ > 0) give_to_slabs(batches_[--batch_count_].data(), batch);
  }

  std::size_t total_bytes() noexcept {
    const std::lock_guard lock(mutex_);
    return slab_count_ * slab_bytes;
  }

 private:
  Depot() {
    ::pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); }, [] { get().mutex_.reset(); });
  }

  /// Whether most of a lot of memory is free, so that no block should keep its slab from being given up.
  bool is_after_burst() const noexcept {
    return slab_count_ > most_unused_slabs && free_count_ > slab_count_ * Blocks::capacity / 2;
  }

  void add_slab() {
    if (unused_.empty()) {
      unused_.push_back(*new Blocks);
      ++unused_count_;
      ++slab_count_;
      free_count_ += Blocks::capacity;
    }
    Blocks& slab = unused_.back();
    slab.unlink();
    --unused_count_;
    partly_used_.push_back(slab);
  }

  void give_to_slabs(void* const* blocks, std::size_t count) noexcept {
    free_count_ += count;
    std::for_each_n(blocks, count, [&](void* block) {
      Blocks& slab = Blocks::of(block);
      if (slab.free_count() == 0) partly_used_.push_back(slab);
      slab.give(block);
      if (slab.free_count() == Blocks::capacity) end_use_of(slab);
    });
  }

  void end_use_of(Blocks& slab) noexcept {
    slab.unlink();
    if (unused_count_ < most_unused_slabs) {
      unused_.push_back(slab);
      ++unused_count_;
    } else {
      delete &slab;
      --slab_count_;
      free_count_ -= Blocks::capacity;
    }
  }

  ForkableMutex mutex_;
  std::array<std::array<void*, batch>, 16> batches_;
  std::size_t batch_count_ = 0;
  IntrusiveList<Blocks> partly_used_;
  IntrusiveList<Blocks> unused_;
  std::size_t unused_count_ = 0;
  std::size_t slab_count_ = 0;
  std::size_t free_count_ = 0;  // of blocks in slabs
};

}  // namespace

template <std::size_t block_bytes>
constinit thread_local typename BlockPool<block_bytes>::Cache* BlockPool<block_bytes>::cache_ = nullptr;

/// What the thread has at hand until it ends.
template <std::size_t block_bytes>
struct BlockPool<block_bytes>::CacheOwner {
  std::unique_ptr<Cache> cache = std::unique_ptr<Cache>(new (std::nothrow) Cache);
  CacheOwner() { cache_ = cache.get(); }
  ~CacheOwner() {
    cache_ = nullptr;
    if (cache != nullptr) Depot<block_bytes>::get().give(cache->blocks.data(), cache->count);
  }
};

/// Null if there is no memory for it, or if the thread's has gone already.
template <std::size_t block_bytes>
typename BlockPool<block_bytes>::Cache* BlockPool<block_bytes>::make_cache() noexcept {
  static thread_local CacheOwner owner;
  return cache_;
}

#ifdef TULP_ASAN  // which is to see a use after the end

template <std::size_t block_bytes>
void* BlockPool<block_bytes>::allocate_slowly() {
  return ::operator new(block_bytes);
}

template <std::size_t block_bytes>
void BlockPool<block_bytes>::free_slowly(void* block) noexcept {
  ::operator delete(block);
}

#else

template <std::size_t block_bytes>
void* BlockPool<block_bytes>::allocate_slowly() {
  std::array<void*, Depot<block_bytes>::batch> blocks;
  std::size_t count = Depot<block_bytes>::get().take(blocks.data());
  Cache* const cache = cache_ != nullptr ? cache_ : make_cache();
  void* const block = blocks[--count];
  if (cache == nullptr) {
    Depot<block_bytes>::get().give(blocks.data(), count);
  } else {
    std::copy_n(blocks.begin(), count, cache->blocks.begin());
    cache->count = count;
  }
  return block;
}

template <std::size_t block_bytes>
void BlockPool<block_bytes>::free_slowly(void* block) noexcept {
  Cache* const cache = cache_ != nullptr ? cache_ : make_cache();
  if (cache == nullptr) return Depot<block_bytes>::get().give(&block, 1);
  auto& blocks = cache->blocks;
  if (cache->count == blocks.size()) {  // those that were freed first go, the others are still warm
    constexpr std::size_t batch = Depot<block_bytes>::batch;
    Depot<block_bytes>::get().give(blocks.data(), batch);
    std::copy(blocks.begin() + batch, blocks.end(), blocks.begin());
    cache->count -= batch;
  }
  blocks[cache->count++] = block;
}

#endif

template <std::size_t block_bytes>
std::size_t BlockPool<block_bytes>::total_bytes() noexcept {
  return Depot<block_bytes>::get().total_bytes();
}

template class BlockPool<64>;
template class BlockPool<96>;

}  // namespace tulp::detail
