// Times that the environment sets.  Floor 7, loop.
#pragma once
#include <tulp/duration.hpp>

namespace tulp {

/// What the variable `name` says, a whole number of `unit`; zero if it is not there, or empty.
/// Throws: std::invalid_argument - it says something else; `units` is what it should, "milliseconds".
Duration duration_from_environment(const char* name, Duration unit, const char* units);

}  // namespace tulp
