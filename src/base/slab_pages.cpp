#include "base/slab_pages.hpp"

#include <pthread.h>

#include <mutex>
#include <utility>

namespace tulp::detail {
namespace {

constexpr std::size_t most_unused = 64;  // slabs that keep their memory

}  // namespace

/// Less than half of a huge page is used by small ones; when the program turns out to need more, they become one.
void SlabPage::begin_use(Slab& slab) noexcept {
  slab.is_used_ = true;
  with_memory_count_ += !slab.has_memory_;
  slab.has_memory_ = true;
  if (++used_count_ <= capacity / 2 || use_ == HugePage::Use::wholly) return;
  use_ = HugePage::Use::wholly;
  HugePage::collapse(this);
}

/// From now on the kernel must not fill up what is given back.
void SlabPage::give_back_unused() noexcept {
  if (std::exchange(use_, HugePage::Use::partly) == HugePage::Use::wholly) HugePage::split(this);
  const auto is_useless = [](const Slab& slab) { return slab.has_memory_ && !slab.is_used_; };
  for (auto begin = slabs_.begin(); begin != slabs_.end();) {
    begin = std::find_if(begin, slabs_.end(), is_useless);
    const auto end = std::find_if_not(begin, slabs_.end(), is_useless);
    if (begin == end) return;
    std::for_each(begin, end, [](Slab& slab) { slab.has_memory_ = false; });
    const auto count = static_cast<std::size_t>(end - begin);
    with_memory_count_ -= count;
    HugePage::give_back(memory_of(*begin), count * Slab::size_bytes);
    begin = end;
  }
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
  with_memory_count_ -= page.with_memory_count();
  page.begin_use(slab);
  with_memory_count_ += page.with_memory_count();
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
  // A few slabs in use keep their page, but not the memory of all the others.
  const bool is_time = page.used_count() == 0 || page.used_count() == 4 || page.used_count() == 32;
  if (!is_time || with_memory_count_ - used_count_ <= most_unused) return;
  with_memory_count_ -= page.with_memory_count();
  page.give_back_unused();
  with_memory_count_ += page.with_memory_count();
}

/// One page that is unused is kept, lest the one at the edge go and come again and again.
void SlabPages::drop(SlabPage& page) noexcept {
  for (Slab& slab : page.slabs()) slab.unlink();
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
