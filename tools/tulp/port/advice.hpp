// What becomes of the calls that a program imports when it is ported, and what to do about them.
#pragma once
#include <string_view>

namespace tool::port {

enum class Fate : unsigned char {
  taken_over,  ///< tulp-blocking makes it park
  blocks,      ///< it holds up the thread, and with it every task
  look_at,     ///< it does not block, but tasks are not threads
  harmless,
};

struct Verdict {
  Fate fate = Fate::harmless;
  const char* advice = "";
};

/// Of an imported symbol, by the name that the linker knows.
Verdict judge(std::string_view name);
/// Whether tulp-blocking has the name.
bool is_taken_over(std::string_view name);

}  // namespace tool::port
