// The seed that the environment gives.  Floor 9, testing.
#pragma once
#include <cstdint>
#include <optional>

namespace tulp::testing {

/// Of TULP_SEED.  Throws: std::invalid_argument - it is not a number.
std::optional<std::uint64_t> seed_from_environment();

}  // namespace tulp::testing
