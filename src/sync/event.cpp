#include <tulp/event.hpp>

namespace tulp {

bool Event::wait() {
  detail::require_task("Event::wait");
  if (!is_set_) waiting_.wait("the event");
  return true;
}

void Event::set() noexcept {
  is_set_ = true;
  waiting_.wake_all();
}

}  // namespace tulp
