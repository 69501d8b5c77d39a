#include "support/allocations.hpp"

#include <cstdlib>
#include <new>

#include "fiber/sanitizer.hpp"

namespace {
thread_local std::size_t count_of_this_thread = 0;
}

namespace tulp::test {
std::size_t AllocationCount::so_far() noexcept { return count_of_this_thread; }

bool AllocationCount::is_counting() {
  const AllocationCount one;
  ::operator delete(::operator new(1));
  return one.count() == 1;
}
}  // namespace tulp::test

#if !defined(TULP_ASAN) && !defined(TULP_TSAN)

[[gnu::noinline]] void* operator new(std::size_t size) {
  ++count_of_this_thread;
  if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

#endif
