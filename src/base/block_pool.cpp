#include <tulp/detail/block_pool.hpp>

#include <pthread.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>

#include "base/forkable_mutex.hpp"
#include "base/sanitizers.hpp"
#include "base/slab_pages.hpp"

namespace tulp::detail {
namespace {

constexpr std::size_t most_slabs_without_burst = 64;

/// What no thread has at hand.
template <std::size_t block_bytes>
class Depot {
 public:
  static constexpr std::size_t batch = 256;  // what changes hands at a time

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
    Slab& slab = partly_used_.back();
    const std::size_t taken = slab.take(into, batch, block_bytes);
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

 private:
  static constexpr std::size_t slab_capacity = Slab::capacity(block_bytes);

  Depot() {
    SlabPages::get();  // first, so that fork() locks it last, as all do who hold both locks
    ::pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); }, [] { get().mutex_.reset(); });
  }

  /// Whether most of a lot of memory is free, so that no block should keep its slab from being given up.
  bool is_after_burst() const noexcept {
    return slab_count_ > most_slabs_without_burst && free_count_ > slab_count_ * slab_capacity / 2;
  }

  void add_slab() {
    Slab& slab = SlabPages::get().take();
    slab.divide(block_bytes);
    partly_used_.push_back(slab);
    ++slab_count_;
    free_count_ += slab_capacity;
  }

  void give_to_slabs(void* const* blocks, std::size_t count) noexcept {
    free_count_ += count;
    std::for_each_n(blocks, count, [&](void* block) {
      Slab& slab = Slab::of(block);
      if (slab.free_count() == 0) partly_used_.push_back(slab);
      slab.give(block, block_bytes);
      if (slab.free_count() == slab_capacity) give_up(slab);
    });
  }

  void give_up(Slab& slab) noexcept {
    slab.unlink();
    --slab_count_;
    free_count_ -= slab_capacity;
    SlabPages::get().give(slab);
  }

  ForkableMutex mutex_;
  std::array<std::array<void*, batch>, 16> batches_;
  std::size_t batch_count_ = 0;
  IntrusiveList<Slab> partly_used_;
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
  return ::operator new(block_bytes, std::align_val_t(block_alignment<block_bytes>));
}

template <std::size_t block_bytes>
void BlockPool<block_bytes>::free_slowly(void* block) noexcept {
  ::operator delete(block, std::align_val_t(block_alignment<block_bytes>));
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

std::size_t pooled_bytes() noexcept { return SlabPages::get().total_bytes(); }

template class BlockPool<64>;
template class BlockPool<96>;
template class BlockPool<256>;
template class BlockPool<320>;
template class BlockPool<640>;

}  // namespace tulp::detail
