// The system calls that a seed disturbs.  Floor 9, testing.
#pragma once

namespace tulp::testing {

/// Puts functions of this library into the table of system calls, where it holds those that it began with.  Done before
/// main(), when no loop runs yet, and again by each new test loop, in case a test has put an old table back.  On threads
/// that run no test loop they are the calls that were there.
void disturb_system_calls() noexcept;

}  // namespace tulp::testing
