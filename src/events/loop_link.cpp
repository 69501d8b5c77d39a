#include <tulp/detail/loop_link.hpp>

#include <tulp/event_loop.hpp>

namespace tulp::detail {

bool LoopLink::post(Runnable& entry) noexcept {
  const std::lock_guard lock(mutex_);
  return loop_ != nullptr && loop_->post_threadsafe(entry);
}

void LoopLink::cut() noexcept {
  const std::lock_guard lock(mutex_);
  loop_ = nullptr;
}

}  // namespace tulp::detail
