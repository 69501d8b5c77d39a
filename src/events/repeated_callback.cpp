#include "events/repeated_callback.hpp"

#include "events/live_loops.hpp"

namespace tulp::detail {

void RepeatedCallback::run() noexcept { is_removed_ ? drop_ref() : call(); }

void RepeatedCallback::call() noexcept {
  if (is_removed_) return;
  const auto keep = Ref<RepeatedCallback>::share(this);  // the callback may remove itself
  const ContextScope scope(context_);
  is_running_ = true;
  try {
    function_();
  } catch (const ThrowWatch&) {
  } catch (...) {
    loop_.call_exception_handler(context_of_failure("a " + origin_.what + " failed", "callback", origin_.created_at));
  }
  is_running_ = false;
  if (is_removed_) function_ = nullptr;
}

void RepeatedCallback::discard() noexcept {
  if (is_removed_) drop_ref();
}

void RepeatedCallback::remove() noexcept {
  is_removed_ = true;
  if (!is_running_) function_ = nullptr;
  if (!is_queued()) drop_ref();
}

}  // namespace tulp::detail
