// TULP_ASSERT: "we erred".  Floor 1, base.
#pragma once

namespace tulp::detail {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;
}

/// Ends the process with one line when `condition` is false; compiled only with -Ddebug_checks=true.
#ifdef TULP_DEBUG_CHECKS
#define TULP_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::tulp::detail::assertion_failed(#condition, __FILE__, __LINE__))
#else
#define TULP_ASSERT(condition) static_cast<void>(0)
#endif
