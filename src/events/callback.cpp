#include <tulp/event_loop.hpp>
#include <tulp/handle.hpp>

#include "events/live_loops.hpp"

namespace tulp::detail {

void Callback::report_failure() const noexcept {
  loop_.call_exception_handler(context_of_failure("a callback failed", "callback", created_at_));
}

void Callback::discard() noexcept {
  cancel();
  drop_ref();
}

void Callback::cancel() noexcept {
  if (std::exchange(state_, State::cancelled) == State::pending) destroy_callable();
}

void TimedCallback::cancel() noexcept {
  const bool was_waiting = is_scheduled();
  if (was_waiting) loop().stop_timer(*this);
  Callback::cancel();
  if (was_waiting) drop_ref();  // the loop's: it never queued the callback
}

}  // namespace tulp::detail
