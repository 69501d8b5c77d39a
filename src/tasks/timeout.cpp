#include <tulp/error.hpp>
#include <tulp/wait.hpp>

#include <cstdio>

namespace tulp::detail {
namespace {

std::string in_seconds(Duration limit) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g s", limit.seconds());
  return text;
}

}  // namespace

TimeoutScope::TimeoutScope(Duration limit)
    : task_(require_task("with_timeout")), limit_(limit), cancelling_at_entry_(task_.cancelling()) {
  if (!limit.is_never()) timer_ = task_.loop().call_later(limit, [this] { expire(); });
}

TimeoutScope::~TimeoutScope() { leave(); }

void TimeoutScope::expire() {
  is_expired_ = true;
  task_.request_cancel("the time limit of " + in_seconds(limit_) + " has passed");
}

void TimeoutScope::leave() noexcept {
  if (has_left_) return;
  has_left_ = true;
  timer_.cancel();
  if (!is_expired_) return;
  if (task_.uncancel() <= cancelling_at_entry_) task_.forget_pending_cancel();  // it was ours, and came too late
}

void TimeoutScope::throw_if_expired() {
  leave();
  if (is_expired_ && task_.cancelling() <= cancelling_at_entry_)
    throw TimeoutError("timed out after " + in_seconds(limit_));
}

}  // namespace tulp::detail
