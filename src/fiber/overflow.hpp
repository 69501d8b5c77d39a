// A stack overflow ends with a message.  Floor 2, fiber.
#pragma once

namespace tulp {

/// Sees to it that a fiber of this thread that overflows its stack ends the process with a line on stderr that names
/// who ran on it, the stack's size and where it was created.  The process then dies of the same SIGSEGV, so that core
/// dumps and debuggers see it.  Any other SIGSEGV goes to the handler that was there before.
/// The first call in the process takes over SIGSEGV and SIGBUS; the first one in a thread gives the thread an alternate
/// signal stack, unless it has one.
void watch_for_overflow() noexcept;

}  // namespace tulp
