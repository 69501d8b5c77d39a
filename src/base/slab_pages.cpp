#include "base/slab_pages.hpp"

#include <pthread.h>

#include <mutex>
#include <new>
#include <utility>

#include "base/sanitizers.hpp"

namespace tulp::detail {
namespace {

constexpr std::size_t most_unused = 64;  // slabs that keep their memory
constexpr std::size_t few = 32;          // slabs of a page
constexpr std::size_t very_few = 4;

}  // namespace

/// Less than half of a huge page is used by small ones; when the program turns out to need more, they become one.
bool SlabPage::begin_use(Slab& slab) noexcept {
  slab.is_used_ = true;
  if (++used_count_ > capacity / 2) use(HugePage::Use::wholly);
  return !std::exchange(slab.has_memory_, true);
}

/// From now on the kernel must not fill up what is given back.
std::size_t SlabPage::give_back_unused() noexcept {
  use(HugePage::Use::partly);
  const auto is_useless = [](const Slab& slab) { return slab.has_memory_ && !slab.is_used_; };
  std::size_t count = 0;
  for (auto begin = slabs_.begin(), end = begin;; begin = end) {
    begin = std::find_if(begin, slabs_.end(), is_useless);
    end = std::find_if_not(begin, slabs_.end(), is_useless);
    if (begin == end) return count;
    std::for_each(begin, end, [](Slab& slab) { slab.has_memory_ = false; });
    const auto found = static_cast<std::size_t>(end - begin);
    HugePage::give_back(memory_of(*begin), found * Slab::size_bytes);
    count += found;
  }
}

void SlabPage::use(HugePage::Use how) noexcept {
  if (std::exchange(use_, how) != how) HugePage::change_use(this, how);
}

std::size_t SlabPage::with_memory_count() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(slabs_.begin(), slabs_.end(), [](const Slab& slab) { return slab.has_memory_; }));
}

SlabPages& SlabPages::get() {
  static SlabPages& pages = *new SlabPages;
  return pages;
}

SlabPages::SlabPages() {
  ::pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); }, [] { get().mutex_.reset(); });
}

Slab& SlabPages::take() {
  const std::lock_guard lock(mutex_);
  if (unused_.empty()) add_page();
  Slab& slab = unused_.back();
  slab.unlink();
  SlabPage& page = SlabPage::of(&slab);
  if (page.used_count() == 0) --unused_page_count_;
  if (page.begin_use(slab)) ++with_memory_count_;
  ++used_count_;
  return slab;
}

/// The first is not a huge one: most programs need a part of it.
void SlabPages::add_page() {
  const HugePage::Use use = page_count_ == 0 ? HugePage::Use::partly : HugePage::Use::wholly;
  SlabPage& page = *new (use) SlabPage(use);
  for (std::size_t i = SlabPage::capacity; i-- > 0;) unused_.push_back(page.slabs()[i]);  // the last is used first
  ++page_count_;
  ++unused_page_count_;
}

void SlabPages::give(Slab& slab) noexcept {
  const std::lock_guard lock(mutex_);
  unused_.push_back(slab);
  --used_count_;
  SlabPage& page = SlabPage::of(&slab);
  page.end_use(slab);
  if (page.used_count() == 0 && unused_page_count_++ > 0) return drop(page);
  if (page.used_count() == few || page.used_count() == very_few || page.used_count() == 0) remember_as_thin(page);
}

/// A few slabs in use keep their page, but not the memory of all the others, once another page has become as thin: when a
/// burst ends, most pages are empty soon after.
void SlabPages::remember_as_thin(SlabPage& page) noexcept {
  SlabPage* const former = std::exchange(thin_page_, &page);
  if (former == nullptr || former == &page || former->used_count() > few) return;
  if (with_memory_count_ - used_count_ > most_unused) with_memory_count_ -= former->give_back_unused();
}

#ifdef TULP_ASAN
void* SlabPages::take_undivided() { return ::operator new(Slab::size_bytes); }
void SlabPages::give_undivided(void* memory) noexcept { ::operator delete(memory); }
#else
void* SlabPages::take_undivided() { return get().take().memory(); }
void SlabPages::give_undivided(void* memory) noexcept { get().give(Slab::of(memory)); }
#endif

/// One page that is unused is kept, lest the one at the edge go and come again and again.
void SlabPages::drop(SlabPage& page) noexcept {
  for (Slab& slab : page.slabs()) slab.unlink();
  if (thin_page_ == &page) thin_page_ = nullptr;
  with_memory_count_ -= page.with_memory_count();
  --page_count_;
  --unused_page_count_;
  delete &page;
}

std::size_t SlabPages::total_bytes() noexcept {
  const std::lock_guard lock(mutex_);
  return with_memory_count_ * Slab::size_bytes;
}

}  // namespace tulp::detail
