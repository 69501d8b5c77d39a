#include "fiber/fiber_pool.hpp"

#include <algorithm>
#include <new>

namespace tulp {
namespace {

/// A fiber's own record lies at the top of its stack, in the page that is touched anyway.
constexpr std::size_t record_bytes = (sizeof(Fiber) + 63) / 64 * 64;

/// Stacks lie at whole pages, so that the tops of all of them would compete for the same few sets of the cache.  Each
/// begins a little lower than the one before, within the page that it touches anyway.
constexpr std::size_t shift_bytes = 128;
constexpr std::size_t shift_count = 16;

}  // namespace

FiberPool::~FiberPool() {
  for (Fiber* fiber : idle_) destroy(*fiber);
}

void FiberPool::reserve() {
  if (promised_ == idle_.size() + promised_stacks_) {
    if (idle_.capacity() <= running_count_ + idle_.size() + promised_)  // so that give_back() never allocates
      idle_.reserve(2 * (running_count_ + idle_.size() + promised_) + 16);
    stacks_.reserve();
    ++promised_stacks_;
  }
  ++promised_;
}

Fiber& FiberPool::take() noexcept {
  --promised_;
  ++running_count_;
  if (!idle_.empty()) {
    Fiber& fiber = *idle_.back();
    idle_.pop_back();
    lowest_idle_count_ = std::min(lowest_idle_count_, idle_.size());
    return fiber;
  }
  --promised_stacks_;
  const Stack stack = stacks_.take();
  const std::size_t shift = shift_bytes * (next_shift_++ % shift_count);
  const Stack usable{stack.low, stack.size_bytes - record_bytes - shift};
  return *::new (static_cast<void*>(usable.top())) Fiber(usable, program_);
}

void FiberPool::give_back(Fiber& fiber) noexcept {
  fiber.user = nullptr;
  --running_count_;
  if (--releases_left_ == 0) trim();
  idle_.push_back(&fiber);
}

void FiberPool::trim() noexcept {
  const std::size_t unneeded = std::min(lowest_idle_count_, idle_.size() + promised_stacks_ - promised_);
  std::for_each(idle_.begin(), idle_.begin() + static_cast<std::ptrdiff_t>(unneeded),
                [this](Fiber* f) { destroy(*f); });
  idle_.erase(idle_.begin(), idle_.begin() + static_cast<std::ptrdiff_t>(unneeded));
  lowest_idle_count_ = idle_.size();
  releases_left_ = window;
}

void FiberPool::destroy(Fiber& fiber) noexcept {
  const Stack stack{fiber.stack().low, stacks_.size_bytes()};
  fiber.close();
  stacks_.give_back(stack);
}

}  // namespace tulp
