#include <tulp/task_group.hpp>

#include <algorithm>
#include <string>

#include <tulp/error.hpp>

namespace tulp {

using detail::CancelReason;
using detail::FutureState;
using detail::Ref;
using detail::TaskControl;

namespace {

template <class E>
bool is_a(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const E&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Why the tasks are cancelled when the body throws `error`.
CancelReason reason_of(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError& cancelled) {
    return {cancelled.message(), cancelled.asked_at()};
  } catch (...) {
    return {"the body of the group has failed"};
  }
}

}  // namespace

/// A cancellation is passed on to all tasks, however often it is asked for; the parent goes on when they have ended.
class TaskGroup::JoinPark final : public detail::WaitEntry {
 public:
  JoinPark(TaskControl& me, TaskGroup& group) noexcept : WaitEntry(me), group_(group) { group_.joining_ = this; }
  std::string description() const override { return "the tasks of its group"; }
  bool pass_on(const CancelReason& reason, TaskControl*&) noexcept override {
    group_.was_join_cancelled_ = true;
    group_.was_task_cancelled_ = false;  // what was cut short before was so for another reason
    group_.join_cancel_reason_ = reason;
    group_.is_aborting_ = true;
    group_.spread_cancel(reason);
    return true;
  }

 private:
  TaskGroup& group_;
};

TaskGroup::TaskGroup() : parent_(detail::require_task("with_task_group")), cancelling_at_entry_(parent_.cancelling()) {}

void TaskGroup::check_open() const {
  if (is_body_over_ && running_count_ == 0) throw InvalidStateError("the task group has ended");
  if (is_aborting_) throw InvalidStateError("the task group is ending");
}

void TaskGroup::admit(FutureState& future) {
  try {
    check_open();
    if (&future.loop() != &parent_.loop())
      throw InvalidStateError("TaskGroup::create_task: the future belongs to a different event loop");
  } catch (const InvalidStateError&) {
    future.cancel(CancelReason("its task group does not take it"));
    throw;
  }
  adopt(future);
}

void TaskGroup::adopt(FutureState& task) {
  watch(task, 0, detail::Waiter::Role::looks_on);
  ++running_count_;
  if (is_aborting_) task.cancel(CancelReason("the task group is ending"));
}

void TaskGroup::cancel(std::string message) {
  abort({message.empty() ? "the task group was cancelled" : std::move(message), TULP_CALLER});
}

void TaskGroup::abort(const CancelReason& reason) noexcept {
  if (is_aborting_) return;
  is_aborting_ = true;
  spread_cancel(reason);
  if (is_body_over_) return;
  is_body_cancel_asked_ = true;
  parent_.request_cancel(reason);
}

void TaskGroup::on_end(Ref<FutureState> task, std::size_t) noexcept {
  --running_count_;
  if (task->status() == FutureState::Status::cancelled) {
    was_task_cancelled_ = true;
  } else if (task->status() == FutureState::Status::failed) {
    const std::exception_ptr error = task->exception();
    if (task->task() != nullptr && task->task()->cancelling() > 0 && is_a<FutureCancelledError>(error)) {
      was_task_cancelled_ = true;
    } else {
      keep(error, task->trace());
      abort(task->description() + " of the group has failed");
    }
  }
  if (running_count_ == 0 && joining_ != nullptr) std::exchange(joining_, nullptr)->wake();
}

/// What two have thrown, because one waited for the other, is kept once.
void TaskGroup::keep(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace) {
  if (is_a<KeyboardInterrupt>(error)) {
    if (interrupt_ == nullptr) interrupt_ = std::move(error);
  } else if (std::find(errors_.begin(), errors_.end(), error) == errors_.end()) {
    errors_.push_back(std::move(error));
    traces_.push_back(std::move(trace));
  }
}

void TaskGroup::finish(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace) {
  is_body_over_ = true;
  bool is_cancelled_by_others = true;
  if (is_body_cancel_asked_ && parent_.uncancel() <= cancelling_at_entry_) {
    parent_.forget_pending_cancel();
    is_cancelled_by_others = false;
  }
  std::exception_ptr cancelled;
  if (error != nullptr) {
    abort(reason_of(error));
    if (is_a<CancelledError>(error)) {
      if (is_cancelled_by_others) cancelled = std::move(error);
      error = nullptr;
    } else if (is_body_cancel_asked_ && is_a<FutureCancelledError>(error)) {
      error = nullptr;  // of a task that the group has cancelled as well
    }
  }
  while (running_count_ > 0) {
    JoinPark wait(parent_, *this);
    detail::park(wait);
  }
  if (error != nullptr) keep(std::move(error), std::move(trace));
  if (interrupt_ != nullptr) {
    for (std::size_t i = 0; i < errors_.size(); ++i)
      parent_.loop().call_exception_handler({.message = "a task group was interrupted, and this has failed in it",
                                             .exception = errors_[i],
                                             .object = parent_.state().description(),
                                             .trace = traces_[i]});
    std::rethrow_exception(interrupt_);
  }
  if (!errors_.empty()) {
    if (cancelled != nullptr || was_join_cancelled_) parent_.cancel_at_next_park();
    throw ExceptionGroup("failures in a task group", std::move(errors_), std::move(traces_));
  }
  if (cancelled != nullptr) std::rethrow_exception(cancelled);
  if (was_join_cancelled_ && was_task_cancelled_)
    throw CancelledError(join_cancel_reason_.message, join_cancel_reason_.asked_at);
  if (was_join_cancelled_) parent_.cancel_at_next_park();
}

}  // namespace tulp
