// What AddressSanitizer, ThreadSanitizer and Valgrind must be told about fibers.  Floor 2, fiber.
//
// Without the tools every function here is empty.  A switch is announced directly before the jump and confirmed
// directly after it; a stack is announced when it is first used and when it is given back.
#pragma once
#include <cstddef>

#include "base/sanitizers.hpp"

#ifdef TULP_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef TULP_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define TULP_VALGRIND 1
#endif

namespace tulp {

/// An instrumented frame is about three times as large.
#if defined(TULP_ASAN) || defined(TULP_TSAN)
inline constexpr std::size_t stack_size_factor = 3;
#else
inline constexpr std::size_t stack_size_factor = 1;
#endif

inline void unpoison([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t size) noexcept {
#ifdef TULP_ASAN
  __asan_unpoison_memory_region(begin, size);
#endif
}

/// One flow of control as the tools see it.
class SanitizerState {
 public:
  /// For a fiber on [low, low + size); the state of a thread's own stack is default-constructed.
  void open([[maybe_unused]] char* low, [[maybe_unused]] std::size_t size) noexcept {
#ifdef TULP_ASAN
    low_ = low;
    size_ = size;
    unpoison(low, size);
#endif
#ifdef TULP_TSAN
    tsan_ = __tsan_create_fiber(0);
#endif
#ifdef TULP_VALGRIND
    valgrind_ = VALGRIND_STACK_REGISTER(low, low + size);
#endif
  }
  void close() noexcept {
#ifdef TULP_TSAN
    __tsan_destroy_fiber(tsan_);
#endif
#ifdef TULP_VALGRIND
    VALGRIND_STACK_DEREGISTER(valgrind_);
#endif
  }

  /// Directly before the jump from this flow to `next`.
  [[gnu::always_inline]] void before_jump([[maybe_unused]] SanitizerState& next) noexcept {
#ifdef TULP_ASAN
    __sanitizer_start_switch_fiber(&fake_stack_, next.low_, next.size_);
#endif
#ifdef TULP_TSAN
    if (tsan_ == nullptr) tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(next.tsan_, 0);
#endif
  }
  /// Directly after this flow was jumped to by `previous`.
  [[gnu::always_inline]] void after_jump([[maybe_unused]] SanitizerState& previous) noexcept {
#ifdef TULP_ASAN
    const void* low = nullptr;
    std::size_t size = 0;
    __sanitizer_finish_switch_fiber(fake_stack_, &low, &size);
    previous.low_ = low;  // a thread's own stack learns its bounds here
    previous.size_ = size;
#endif
  }

 private:
#ifdef TULP_ASAN
  void* fake_stack_ = nullptr;
  const void* low_ = nullptr;
  std::size_t size_ = 0;
#endif
#ifdef TULP_TSAN
  void* tsan_ = nullptr;
#endif
#ifdef TULP_VALGRIND
  unsigned valgrind_ = 0;
#endif
};

}  // namespace tulp
