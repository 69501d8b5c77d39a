// What the demo prints: plain text in 80 columns, with a little colour where that is wanted.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "demo/site.hpp"
#include "exit_code.hpp"
#include "terminal.hpp"

namespace tool::demo {

/// What came of fetching one URL.
struct Visit {
  std::string url;
  unsigned status = 0;  ///< 0 if there was no reply
  std::uint64_t received_bytes = 0;
  std::chrono::nanoseconds time{};
  ExitCode code = ExitCode::ok;
  std::string error = {};  ///< of which `code` tells the kind
  bool is_as_expected = false;
};
using Visits = std::vector<Visit>;

/// The most that was seen of the process.
struct Peak {
  std::size_t fiber_count = 0;
  std::size_t stack_bytes = 0;   ///< that a fiber has used, on average
  std::size_t thread_count = 0;  ///< 0 where the system does not tell

  /// Looks, and keeps what is more than before.
  void look();
};

/// What the site has to offer, a line for each kind of page.
std::string describe(const Site& site);
/// "#####-----", so full as `done` is of `all`.
std::string bar(std::size_t done, std::size_t all, std::size_t width);
/// How all the visits to the site went.
std::string summarize(const Site& site, const Visits& visits, std::chrono::nanoseconds elapsed, const Peak& peak,
                      const Colours& colours);
/// A line for each visit and one for all of them.
std::string tabulate(const Visits& visits, std::chrono::nanoseconds elapsed, const Colours& colours);

}  // namespace tool::demo
