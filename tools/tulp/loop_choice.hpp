// loop_for_many_connections: for commands that serve others.
#pragma once
#include <tulp/event_loop.hpp>

#include <cstdlib>
#include <exception>

namespace tool {

/// Over io_uring, which spends less on many small messages, where the kernel allows it; or what TULP_SELECTOR names.
inline tulp::LoopOptions loop_for_many_connections() {
  if (std::getenv("TULP_SELECTOR") != nullptr) return {};
  const tulp::LoopOptions ring{.selector = tulp::SelectorKind::io_uring};
  try {
    tulp::new_event_loop(ring)->close();
    return ring;
  } catch (const std::exception&) {  // it is forbidden, or not there
    return {};
  }
}

}  // namespace tool
