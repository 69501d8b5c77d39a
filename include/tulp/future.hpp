// Future<T>: a result that will be there later.  Floor 4, futures.
#pragma once
#include <tulp/detail/future_state.hpp>
#include <tulp/event_loop.hpp>

#include <concepts>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

namespace tulp {

/// Names one callback of one future.
enum class CallbackId : std::uint64_t {};

namespace detail {
/// The loop of a future or task that is made here and now; as get_event_loop().
EventLoop& loop_for_new_object();

/// What Future<T> and Future<void> have in common.
template <class T, class Derived>
class FutureBase {
 public:
  using value_type = T;

  /// True for a result, an exception and a cancellation alike.
  bool done() const noexcept { return state_->is_done(); }
  bool cancelled() const noexcept { return state_->status() == FutureState::Status::cancelled; }

  /// The result, or throws the exception that was set.  Never parks.  A result that can only be moved is taken.
  /// Throws: InvalidStateError - not done, or the move-only result was taken before; FutureCancelledError - cancelled.
  T result() const { return state_->get(false); }
  /// The exception, or null if there is a result.  Throws: as result(), but not the exception itself.
  std::exception_ptr exception() const { return state_->exception(); }

  /// Throws: InvalidStateError - done already, or this is a task.
  void set_exception(std::exception_ptr error) {
    state_->check_settable();
    if (error == nullptr) throw std::invalid_argument("set_exception: null");
    state_->fail(std::move(error));
  }
  template <class E>
  requires(!std::same_as<std::decay_t<E>, std::exception_ptr>) void set_exception(E&& error) {
    set_exception(std::make_exception_ptr(std::forward<E>(error)));
  }

  /// Ends a pending future as cancelled.  Of a task it asks for cancellation, which comes at the task's next park.
  /// False, and without effect, if it is done already.
  [[gnu::noinline]] bool cancel(std::string message = {}) { return state_->cancel({std::move(message), TULP_CALLER}); }

  /// Schedules `callback(future)` with call_soon() when the future is done, or now if it is.  Callbacks run in the order
  /// in which they were added; one that is added twice runs twice.
  template <std::invocable<Derived> Callback>
  CallbackId add_done_callback(Callback&& callback) {
    return CallbackId{state_->add_done_callback(
        [callback = std::decay_t<Callback>(std::forward<Callback>(callback))](FutureState& state) mutable {
          callback(Derived(Ref<FutureStateOf<T>>::share(&static_cast<FutureStateOf<T>&>(state))));
        })};
  }
  /// True if the callback was there and will not run.
  bool remove_done_callback(CallbackId id) noexcept {
    return state_->remove_done_callback(static_cast<std::uint64_t>(id));
  }

  EventLoop& get_loop() const noexcept { return state_->loop(); }
  /// Whether both name the same future.
  friend bool operator==(const FutureBase& a, const FutureBase& b) noexcept { return a.state_.get() == b.state_.get(); }

  // For the library.
  explicit FutureBase(Ref<FutureStateOf<T>> state) noexcept : state_(std::move(state)) {}
  const Ref<FutureStateOf<T>>& state() const noexcept { return state_; }

 protected:
  Ref<FutureStateOf<T>> state_;
};
}  // namespace detail

/// A refcounted handle: copies share one state.  Bound to one loop.  T is an object type or void.
///
/// Each of result(), exception(), await() and cancel() takes note of a failure; one of which nobody took note is
/// reported when the last copy dies.
/// Thread: copies may be made and dropped anywhere, all else on the loop's thread.  Source: PEP 3156 "Futures".
template <class T = void>
class Future : public detail::FutureBase<T, Future<T>> {
  static_assert(std::is_same_v<T, std::decay_t<T>>, "Future<T>: T must be decayed");

 public:
  using detail::FutureBase<T, Future<T>>::FutureBase;
  /// Pending, on this thread's loop.
  [[gnu::noinline]] Future() : Future(detail::loop_for_new_object(), TULP_CALLER) {}
  [[gnu::noinline]] explicit Future(EventLoop& loop) : Future(loop, TULP_CALLER) {}

  /// Throws: InvalidStateError - done already, or this is a task.
  void set_result(T value) {
    this->state_->check_settable();
    this->state_->set_value(std::move(value));
  }
  /// For a result that may come after whoever wanted it has left: false, and without effect, if the future was cancelled.
  bool set_result_unless_cancelled(T value) {
    if (this->cancelled()) return false;
    set_result(std::move(value));
    return true;
  }

 private:
  Future(EventLoop& loop, const void* caller)
      : Future(detail::Ref<detail::FutureStateOf<T>>::adopt(new detail::FutureStateOf<T>(loop, caller))) {}
};

template <>
class Future<void> : public detail::FutureBase<void, Future<void>> {
 public:
  using FutureBase::FutureBase;
  [[gnu::noinline]] Future() : Future(detail::loop_for_new_object(), TULP_CALLER) {}
  [[gnu::noinline]] explicit Future(EventLoop& loop) : Future(loop, TULP_CALLER) {}

  void set_result() {
    state_->check_settable();
    state_->set_value();
  }
  bool set_result_unless_cancelled() {
    if (cancelled()) return false;
    set_result();
    return true;
  }

 private:
  Future(EventLoop& loop, const void* caller)
      : Future(detail::Ref<detail::FutureStateOf<void>>::adopt(new detail::FutureStateOf<void>(loop, caller))) {}
};

template <class T>
T EventLoop::run_until_complete(Future<T> future) {
  if (&future.get_loop() != this) throw InvalidStateError("the future belongs to a different event loop");
  const CallbackId stopper = future.add_done_callback([this](const Future<T>&) { stop(); });
  try {
    run_forever();
  } catch (...) {
    future.remove_done_callback(stopper);
    throw;
  }
  if (!future.done()) {
    future.remove_done_callback(stopper);
    throw InvalidStateError("the event loop was stopped before the future was done");
  }
  return future.result();
}

}  // namespace tulp
