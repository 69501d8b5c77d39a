// What a benchmark has found, as text for people and as JSON for programs.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>

#include "bench/plan.hpp"
#include "terminal.hpp"

namespace tool::bench {

/// How text may look where it goes.
struct Page {
  std::size_t columns = 80;
  bool has_unicode = false;
  Colours colours;
};

/// "87.1 us", "1.23 ms", "12.3 s": three digits.
std::string in_few_digits(std::chrono::nanoseconds span, bool has_unicode);
/// "1,234,567".
std::string in_groups(std::uint64_t number);

std::string to_text(const Plan& plan, const Tally& tally, const Page& page);
std::string to_json(const Plan& plan, const Tally& tally);

}  // namespace tool::bench
