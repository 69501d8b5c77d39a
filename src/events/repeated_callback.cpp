#include "events/repeated_callback.hpp"

namespace tulp::detail {

void RepeatedCallback::run() noexcept {
  if (is_removed_) return drop_ref();
  const auto keep = Ref<RepeatedCallback>::share(this);  // the callback may remove itself
  try {
    function_();
  } catch (...) {
    loop_.call_exception_handler({.message = "a " + origin_.what + " failed",
                                  .exception = std::current_exception(),
                                  .object = "callback",
                                  .created_at = origin_.created_at});
  }
}

void RepeatedCallback::discard() noexcept {
  if (is_removed_) drop_ref();
}

void RepeatedCallback::remove() noexcept {
  is_removed_ = true;
  if (!is_queued()) return drop_ref();
  function_ = nullptr;
}

}  // namespace tulp::detail
