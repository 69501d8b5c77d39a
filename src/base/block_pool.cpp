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
#include "base/huge_page.hpp"
#include "base/sanitizers.hpp"

namespace tulp::detail {
namespace {

constexpr std::size_t slab_bytes = 16 * 1024;
constexpr std::size_t most_unused_slabs = 64;  // which keep their memory

template <std::size_t block_bytes>
class SlabPage;

/// Blocks side by side, and what is known of them, which lies elsewhere: at the beginning of the page.
template <std::size_t block_bytes>
class alignas(64) Slab : public ListHook<Slab<block_bytes>> {
 public:
  static constexpr std::size_t capacity = std::min<std::size_t>(256, slab_bytes / block_bytes);

  Slab() noexcept {
    for (std::size_t i = 0; i < capacity; ++i) free_[i / 64] |= bit(i);
  }
  std::size_t free_count() const noexcept { return free_count_; }
  bool is_unused() const noexcept { return free_count_ == capacity; }

  /// At most `limit` blocks.  The last one is the first in memory: what is used in turn shall lie side by side.
  std::size_t take(void** into, std::size_t limit) noexcept {
    has_memory = true;
    char* const first_block = SlabPage<block_bytes>::of(this).memory_of(*this);
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
  void give(void* block) noexcept {
    const std::size_t index = reinterpret_cast<std::uintptr_t>(block) % slab_bytes / block_bytes;
    free_[index / 64] |= bit(index);
    ++free_count_;
  }

  bool has_memory = false;

 private:
  static constexpr std::uint64_t bit(std::size_t index) noexcept { return std::uint64_t{1} << index % 64; }

  std::uint32_t free_count_ = capacity;
  std::array<std::uint64_t, 4> free_{};  // a bit for each block
};

/// Slabs side by side.  An address in them tells the page and the slab.
template <std::size_t block_bytes>
class SlabPage {
 public:
  using Blocks = Slab<block_bytes>;
  static constexpr std::size_t capacity = HugePage::size_bytes / slab_bytes - 1;  // the first place is this object's

  static SlabPage& of(const void* address) noexcept {
    return *reinterpret_cast<SlabPage*>(reinterpret_cast<std::uintptr_t>(address) & ~(HugePage::size_bytes - 1));
  }
  static Blocks& slab_of(void* block) noexcept {
    return of(block).slabs_[reinterpret_cast<std::uintptr_t>(block) % HugePage::size_bytes / slab_bytes - 1];
  }
  static void* operator new(std::size_t, HugePage::Use use) { return HugePage::map(use); }
  static void operator delete(void* page) noexcept { HugePage::unmap(page); }
  static void operator delete(void* page, HugePage::Use) noexcept { HugePage::unmap(page); }

  SlabPage() noexcept { static_assert(sizeof(SlabPage) <= slab_bytes); }

  std::array<Blocks, capacity>& slabs() noexcept { return slabs_; }
  char* memory_of(const Blocks& slab) noexcept {
    return reinterpret_cast<char*>(this) + static_cast<std::size_t>(&slab - slabs_.data() + 1) * slab_bytes;
  }
  /// Gives the memory of slabs that are unused to the system, and says how many those were.
  std::size_t give_back_unused() noexcept {
    std::size_t count = 0;
    for (std::size_t begin = 0; begin < capacity; ++begin) {
      std::size_t end = begin;
      for (; end < capacity && slabs_[end].is_unused() && slabs_[end].has_memory; ++end) slabs_[end].has_memory = false;
      if (end == begin) continue;
      HugePage::give_back(memory_of(slabs_[begin]), (end - begin) * slab_bytes);
      count += end - begin;
      begin = end;
    }
    return count;
  }

  std::size_t used_count = 0;  // of its slabs

 private:
  std::array<Blocks, capacity> slabs_;
};

/// What no thread has at hand.
template <std::size_t block_bytes>
class Depot {
 public:
  static constexpr std::size_t batch = 256;  // what changes hands at a time
  using Blocks = Slab<block_bytes>;
  using Page = SlabPage<block_bytes>;

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
    if (!slab.has_memory) ++with_memory_count_;
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
    return with_memory_count_ * slab_bytes;
  }

 private:
  Depot() {
    ::pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); }, [] { get().mutex_.reset(); });
  }

  /// Whether most of a lot of memory is free, so that no block should keep its slab from being given up.
  bool is_after_burst() const noexcept {
    return used_slab_count_ > most_unused_slabs && free_count_ > used_slab_count_ * Blocks::capacity / 2;
  }

  void add_slab() {
    if (unused_.empty()) add_page();
    Blocks& slab = unused_.back();
    slab.unlink();
    if (Page::of(&slab).used_count++ == 0) --unused_page_count_;
    ++used_slab_count_;
    free_count_ += Blocks::capacity;
    partly_used_.push_back(slab);
  }

  /// The first is not a huge one: most programs need a part of it.
  void add_page() {
    Page& page = *new (page_count_ == 0 ? HugePage::Use::partly : HugePage::Use::wholly) Page;
    for (std::size_t i = Page::capacity; i-- > 0;) unused_.push_back(page.slabs()[i]);  // the last is used first
    ++page_count_;
    ++unused_page_count_;
  }

  void give_to_slabs(void* const* blocks, std::size_t count) noexcept {
    free_count_ += count;
    std::for_each_n(blocks, count, [&](void* block) {
      Blocks& slab = Page::slab_of(block);
      if (slab.free_count() == 0) partly_used_.push_back(slab);
      slab.give(block);
      if (slab.is_unused()) end_use_of(slab);
    });
  }

  void end_use_of(Blocks& slab) noexcept {
    slab.unlink();
    unused_.push_back(slab);
    --used_slab_count_;
    free_count_ -= Blocks::capacity;
    Page& page = Page::of(&slab);
    --page.used_count;
    if (page.used_count == 0 && unused_page_count_++ > 0) return drop(page);
    // A few slabs in use keep their page, but not the memory of all the others.
    const bool is_time = page.used_count == 0 || page.used_count == 4 || page.used_count == 32;
    if (is_time && with_memory_count_ - used_slab_count_ > most_unused_slabs)
      with_memory_count_ -= page.give_back_unused();
  }

  /// One page that is unused is kept, lest the one at the edge go and come again and again.
  void drop(Page& page) noexcept {
    for (Blocks& slab : page.slabs()) {
      slab.unlink();
      if (slab.has_memory) --with_memory_count_;
    }
    --page_count_;
    --unused_page_count_;
    delete &page;
  }

  ForkableMutex mutex_;
  std::array<std::array<void*, batch>, 16> batches_;
  std::size_t batch_count_ = 0;
  IntrusiveList<Blocks> partly_used_;
  IntrusiveList<Blocks> unused_;
  std::size_t page_count_ = 0;
  std::size_t unused_page_count_ = 0;  // of whose slabs none is used
  std::size_t used_slab_count_ = 0;
  std::size_t with_memory_count_ = 0;  // of slabs
  std::size_t free_count_ = 0;         // of blocks in slabs that are used
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
template class BlockPool<288>;

}  // namespace tulp::detail
