// The return addresses of the stack that one stands on.  Floor 1, base.
#pragma once
#include <cstddef>
#include <span>

namespace tulp {

inline constexpr std::size_t most_frames = 64;

/// Fills `frames` with return addresses, that of this call first; how many there are.  Does not allocate.
[[gnu::noinline]] std::size_t capture_call_stack(std::span<const void*> frames) noexcept;

/// For a signal handler: the same, but from where the signal has interrupted the thread.
[[gnu::noinline]] std::size_t capture_interrupted_stack(std::span<const void*> frames) noexcept;

/// The address of the function that `return_address` belongs to, or null.
const void* enclosing_function(const void* return_address) noexcept;

}  // namespace tulp
