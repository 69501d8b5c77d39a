#include <tulp/posix.hpp>

#include "tasks/scheduler.hpp"

namespace tulp::posix {

BlockingCallsScope::BlockingCallsScope(BlockingCalls what) noexcept : task_(detail::running_task()) {
  if (task_ == nullptr) return;
  former_ = task_->blocking_calls();
  if (what == BlockingCalls::park) detail::prepare_blocking_calls();
  task_->set_blocking_calls(what);
}

BlockingCallsScope::~BlockingCallsScope() {
  if (task_ != nullptr) task_->set_blocking_calls(former_);
}

}  // namespace tulp::posix
