#include <tulp/detail/future_state.hpp>

#include <tulp/detail/context.hpp>
#include <tulp/event_loop.hpp>

#include "events/live_loops.hpp"

namespace tulp::detail {

/// Owned by the future while that is pending, then by the loop's queue together with a reference to the future.
class FutureState::DoneCallback final : public Waiter, public Runnable {
 public:
  DoneCallback(UniqueFunction<void(FutureState&)> function, std::uint64_t id) noexcept
      : Waiter(static_cast<Runnable&>(*this)), id_(id), function_(std::move(function)) {
    is_callback_ = true;
  }
  std::uint64_t id() const noexcept { return id_; }
  void keep(FutureState& future) noexcept { future_ = Ref<FutureState>::share(&future); }

  void run() noexcept override {
    const ContextScope scope(context_);
    try {
      function_(*future_);
    } catch (const ThrowWatch&) {
    } catch (...) {
      future_->loop().call_exception_handler(
          context_of_failure("a done callback failed", future_->description(), future_->created_at()));
    }
    delete this;
  }
  void discard() noexcept override { delete this; }
  Origin origin() const override {
    return {.what = "done callback of " + future_->description(), .created_at = future_->created_at()};
  }

 private:
  std::uint64_t id_;
  UniqueFunction<void(FutureState&)> function_;
  Ref<FutureState> future_;
  Ref<Context> context_ = capture_context();
};

FutureState::~FutureState() {
  waiters_.for_each([](Waiter& waiter) {
    if (waiter.is_callback_) delete &static_cast<DoneCallback&>(waiter);
  });
}

void FutureState::last_reference_dropped() const noexcept {
  if (status_ == Status::failed && !is_retrieved_) {
    report_to_loop(loop_,
                   {.message = std::string(task() != nullptr ? "task" : "future") + " exception was never retrieved",
                    .exception = exception_,
                    .object = description(),
                    .created_at = created_at_,
                    .trace = note_ ? note_->trace : nullptr});
  }
  delete this;
}

bool FutureState::cancel(CancelReason reason) {
  is_retrieved_ = true;  // whoever cancels takes note
  if (is_done()) return false;
  finish_cancelled(std::move(reason));
  return true;
}

const CancelReason& FutureState::cancel_reason() const noexcept {
  static const CancelReason none;
  return note_ ? note_->cancel_reason : none;
}

std::exception_ptr FutureState::exception() const {
  switch (status_) {
    case Status::pending: throw InvalidStateError("the future is not done");
    case Status::cancelled: throw FutureCancelledError(cancel_reason().message, cancel_reason().asked_at);
    case Status::has_value: return nullptr;
    case Status::failed: break;
  }
  is_retrieved_ = true;
  return exception_;
}

void FutureState::check_value() const {
  if (status_ == Status::has_value) return;
  rethrow(exception(), note_ ? note_->trace : nullptr);
}

void FutureState::check_settable() {
  if (task() != nullptr) throw InvalidStateError("a task's result is set by the task alone");
  if (is_done()) throw InvalidStateError("the future is done already");
}

void FutureState::fail(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace) noexcept {
  exception_ = std::move(error);
  if (trace != nullptr) note_ = std::make_unique<Note>(Note{{}, std::move(trace)});
  finish(Status::failed);
}

void FutureState::finish_cancelled(CancelReason reason) noexcept {
  if (!reason.is_empty()) note_.reset(new (std::nothrow) Note{std::move(reason), nullptr});
  finish(Status::cancelled);
}

void FutureState::finish(Status status) noexcept {
  status_ = status;
  while (!waiters_.empty()) {
    Waiter& waiter = waiters_.pop_front();
    if (waiter.is_callback_) static_cast<DoneCallback&>(waiter).keep(*this);
    loop_.post(waiter.target_);
  }
}

bool FutureState::is_awaited_by_others(const Waiter* waiter) noexcept {
  bool is_awaited = false;
  waiters_.for_each([&](const Waiter& other) {
    if (&other != waiter && other.role_ == Waiter::Role::waits) is_awaited = true;
  });
  return is_awaited;
}

std::uint64_t FutureState::add_done_callback(UniqueFunction<void(FutureState&)> callback) {
  static constinit thread_local std::uint64_t last_id = 0;
  auto added = std::make_unique<DoneCallback>(std::move(callback), ++last_id);
  if (is_done()) {
    loop_.check_usable();
    added->keep(*this);
    loop_.post(*added);
  } else {
    add_waiter(*added);
  }
  return added.release()->id();
}

bool FutureState::remove_done_callback(std::uint64_t id) noexcept {
  bool is_removed = false;
  waiters_.for_each([&](Waiter& waiter) {
    if (!waiter.is_callback_ || static_cast<DoneCallback&>(waiter).id() != id) return;
    is_removed = true;
    delete &static_cast<DoneCallback&>(waiter);
  });
  return is_removed;
}

EventLoop& loop_for_new_object() { return get_event_loop(); }

}  // namespace tulp::detail
