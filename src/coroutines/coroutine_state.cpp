#include <tulp/detail/coroutine_state.hpp>

#include <cxxabi.h>

namespace tulp::detail {
namespace {

/// A coroutine that calls one that calls one, and so on, would need as much stack as functions would.
constexpr int most_begun_inside = 32;
constinit thread_local int begun_inside_count = 0;

}  // namespace

void CoroutineControl::start(std::coroutine_handle<> frame) noexcept {
  frame_ = frame;
  adopt_by_loop(*this);
  if (get_running_loop() != &loop() || begun_inside_count == most_begun_inside) return loop().post(*this);
  ++begun_inside_count;
  run();
  --begun_inside_count;
}

void CoroutineControl::run() noexcept {
  park_ = nullptr;
  if (!has_begun_ && is_cancel_pending_) {
    frame_.destroy();
    end_ = FutureState::Status::cancelled;
    end_reason_ = CancelReason::keep(cancel_reason());
  } else {
    has_begun_ = true;
    const StepScope step(*this);
    frame_.resume();
  }
  // A child process that was forked in there has left this to its parent.
  if (frame_ != nullptr || loop().belongs_to_parent()) return;
  const auto last = Ref<FutureState>::adopt(&state());  // what start() gave to the loop
  switch (end_) {
    case FutureState::Status::failed: return conclude(Failure{std::move(error_), std::move(trace_)});
    case FutureState::Status::cancelled: return conclude(end_reason_ ? std::move(*end_reason_) : CancelReason());
    default: return conclude();
  }
}

CallStack CoroutineControl::call_stack() const {
  if (this == running_task()) return TaskControl::call_stack();
  return place_ != nullptr ? CallStack{place_} : CallStack();
}

void CoroutineControl::come_to(const FutureState& future, const void* place) {
  place_ = place;
  check_awaitable(*this, future, "co_await");
}

void CoroutineControl::suspend(FuturePark& wait) noexcept {
  error_ = nullptr;
  trace_ = nullptr;
  wait.future().add_waiter(wait);
  park_ = &wait;
  if (is_cancel_pending_) [[unlikely]]
    serve_pending_cancel();
}

void CoroutineControl::yield(Park& wait) noexcept {
  park_ = &wait;
  loop().post(*this);
}

void CoroutineControl::throw_cancellation() {
  is_interrupted_ = false;
  throw_cancelled();
}

/// The runtime finds a handler in the coroutine itself, so that no ThrowWatch sees the stack; and it would be the loop's.
void CoroutineControl::throw_failure(const FutureState& future) {
  error_ = future.exception();
  trace_ = trace_through(future.trace(), place_);
  std::rethrow_exception(error_);
}

void CoroutineControl::take_exception() noexcept {
  end_ = FutureState::Status::failed;
  try {
    throw;
  } catch (const CancelledError& cancelled) {
    has_left_body_ = true;
    end_ = FutureState::Status::cancelled;
    end_reason_ = CancelReason::keep({cancelled.message(), cancelled.asked_at()});
    error_ = nullptr;
  } catch (const abi::__forced_unwind&) {
    std::terminate();  // pthread_exit() in a coroutine
  } catch (...) {
    auto error = std::current_exception();
    if (error != error_) trace_ = nullptr;
    error_ = std::move(error);
  }
}

bool AwaiterBase::await_ready() const {
  me_.come_to(wait_.future(), TULP_CALLER);
  if (wait_.future().is_done()) return true;
  me_.loop().check_usable();
  return false;
}

void AwaiterBase::await_suspend(std::coroutine_handle<>) noexcept { me_.suspend(wait_); }

void Starter::await_suspend(std::coroutine_handle<> frame) const noexcept { coroutine_.start(frame); }

}  // namespace tulp::detail
