#include <tulp/gather.hpp>

namespace tulp::detail {

void Gathering::begin(std::vector<Ref<FutureState>> children) {
  children_ = std::move(children);
  if (children_.empty()) return collect();
  const std::vector<bool> is_first = first_appearances(children_);
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (!is_first[i]) continue;
    watch(*children_[i], i);
    ++pending_count_;
  }
}

bool Gathering::cancel_children(const CancelReason& reason) noexcept {
  bool is_any_pending = false;
  for_each_watched([&](const FutureState& child) { is_any_pending = is_any_pending || !child.is_done(); });
  if (!is_any_pending) return false;
  is_cancel_asked_ = true;
  reason_ = reason;
  if (!spread_cancel(reason)) {  // a ring of tasks that wait for each other: nothing else would end it
    forget_all();
    end_cancelled(reason);
  }
  return true;
}

/// A child that others wait for is left to them.
bool Gathering::cancel_one(FutureState& child, bool is_awaited_by_others, const CancelReason& reason) noexcept {
  if (!is_awaited_by_others) {
    child.cancel(reason);
    return true;
  }
  was_child_cancelled_ = true;
  --pending_count_;
  return false;
}

void Gathering::on_spread() noexcept {
  if (pending_count_ == 0 && !outer_.is_done()) conclude();
}

void Gathering::on_end(Ref<FutureState> child, std::size_t) noexcept {
  FutureState& ended = *child;
  child = nullptr;  // so that a result can be moved out of the last reference
  --pending_count_;
  if (outer_.is_done()) return ended.take_note();  // the user has set a result
  const bool is_cancelled = ended.status() == FutureState::Status::cancelled;
  if (!is_cancel_asked_ && !options_.return_exceptions) {
    if (is_cancelled)
      return fail(
          std::make_exception_ptr(FutureCancelledError(ended.cancel_reason().message, ended.cancel_reason().asked_at)));
    if (ended.status() == FutureState::Status::failed) return fail(ended.exception(), ended.trace());
  } else if (is_cancelled) {
    was_child_cancelled_ = true;
  } else if (ended.status() == FutureState::Status::failed && !options_.return_exceptions) {
    if (error_ == nullptr) {
      error_ = ended.exception();
      trace_ = ended.trace();
    }
    ended.take_note();
  }
  if (pending_count_ == 0) conclude();
}

void Gathering::conclude() noexcept {
  if (error_ != nullptr) return fail(error_, trace_);
  if (is_cancel_asked_ && was_child_cancelled_) {
    end_cancelled(reason_);
  } else {
    try {
      collect();
    } catch (...) {  // a copy of a result
      return fail(std::current_exception());
    }
  }
  children_.clear();
}

void Gathering::fail(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace) noexcept {
  for_each_watched([](FutureState& loser) { loser.take_note(); });
  forget_all();
  children_.clear();
  outer_.fail(std::move(error), std::move(trace));
}

}  // namespace tulp::detail
