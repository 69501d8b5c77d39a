// The floating-point environment at the beginning of a task.  Floor 2, fiber.
#pragma once
#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace tulp {

/// Rounding to nearest and no traps, whatever the fiber's former user or its maker had set.  A switch keeps each fiber's
/// own settings; this is the fast form of fesetenv(FE_DFL_ENV).
inline void set_default_floating_point() noexcept {
#if defined(__x86_64__)
  constexpr unsigned default_mxcsr = 0x1f80;
  constexpr unsigned short default_x87_control = 0x037f;
  _mm_setcsr(default_mxcsr);
  asm volatile("fldcw %0" : : "m"(default_x87_control));
#else
  std::fesetenv(FE_DFL_ENV);
#endif
}

}  // namespace tulp
