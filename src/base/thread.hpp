// start_thread: a thread of the library's own.  Floor 1, base.
#pragma once

namespace tulp {

/// Calls `run(argument)` on a new, detached thread that takes no signals: those are for the program's threads.
/// `name`, for debuggers, has at most 15 characters.  0, or the error of pthread_create(3).
int start_thread(const char* name, void (*run)(void*), void* argument);

}  // namespace tulp
