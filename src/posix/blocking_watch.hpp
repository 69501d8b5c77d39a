// What a ported program should not do: hold up the loop by a call, or keep a mutex over a park.  Floor 8, posix.
#pragma once
#include <cstdint>

#include "base/blocking_library.hpp"

namespace tulp::detail {

/// Null if it is not loaded, or another version.
const BlockingLibrary* find_blocking_library() noexcept;
/// From now on it asks tulp.  False if it is not there.
bool use_blocking_library() noexcept;

/// Whether calls on this thread, now, are to be timed.
bool are_blocking_calls_watched() noexcept;
void report_blocking_call(const char* name, std::int64_t nanoseconds) noexcept;

void note_mutex_locked(void* mutex) noexcept;
void note_mutex_unlocked(void* mutex) noexcept;

}  // namespace tulp::detail
