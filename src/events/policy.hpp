// What the library asks of the policy beside what everybody may.  Floor 3, events.
#pragma once
#include <tulp/event_loop.hpp>

namespace tulp {

/// As get_event_loop(), but makes none: null if there is none.
EventLoop* present_event_loop() noexcept;
/// `loop` dies: it is not this thread's any more.
void forget_event_loop(const EventLoop& loop) noexcept;

}  // namespace tulp
