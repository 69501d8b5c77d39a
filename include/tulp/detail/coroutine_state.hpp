// CoroutineState: a future that a C++20 coroutine fulfils.  Floor 6, coroutines.
//
// One allocation holds both; the frame is gone when the coroutine has ended, and with it all that the coroutine held, the
// rest with the last handle:
//
//   | CoroutineState: control block, future, value | the coroutine's frame: promise, parameters, locals, awaiters |
#pragma once
#include <tulp/detail/task_control.hpp>
#include <tulp/detail/task_state.hpp>
#include <tulp/future.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace tulp::detail {

/// A task without a fiber: its steps run on the stack of whoever resumes it, which is the loop's, or, as far as the first
/// suspension, its creator's.
class CoroutineControl : public TaskControl {
 public:
  static constexpr const char* kind_of_task = "coroutine";
  CoroutineControl(EventLoop& loop, FutureState& state) : TaskControl(loop, state) {}

  /// Runs `frame`, which stands at its beginning, as far as its first suspension.  Where its loop does not run, or too many
  /// coroutines have begun inside each other, it is queued.
  void start(std::coroutine_handle<> frame) noexcept;
  void run() noexcept override;
  bool has_begun() const noexcept override { return has_begun_; }
  CallStack call_stack() const override;

  // For what the compiler calls inside the coroutine.

  /// It has come to a co_await, at the return address `place`.  Throws: as check_awaitable().
  void come_to(const FutureState& future, const void* place);
  /// Leaves the coroutine until `wait` is over.
  void suspend(FuturePark& wait) noexcept;
  /// Throws: CancelledError - `wait` was cancelled; what its future has failed with.
  void check(const FuturePark& wait) {
    if (is_interrupted_ || wait.was_cancelled()) [[unlikely]]
      throw_cancellation();
    if (wait.future().status() == FutureState::Status::failed) [[unlikely]]
      throw_failure(wait.future());
  }
  /// The same until everything has run that is ready.
  void yield(Park& wait) noexcept;
  /// Throws: CancelledError - a cancellation is pending and may be delivered.
  void check_after_yield() {
    if (is_cancel_pending_ && is_interruptible()) [[unlikely]]
      throw_cancelled();
  }
  /// In a handler: what has left the body.
  void take_exception() noexcept;
  void lose_frame() noexcept { frame_ = nullptr; }

 protected:
  ~CoroutineControl() = default;

 private:
  void call() final {}
  void destroy_callable() final {}
  [[noreturn]] void throw_cancellation();
  [[noreturn]] void throw_failure(const FutureState& future);

  std::coroutine_handle<> frame_;  // null: it has ended
  const void* place_ = nullptr;    // of the last co_await, at which it stands while it is suspended
  // What has left the body; before that what the last failed co_await threw into it, to be known again.
  std::exception_ptr error_;
  std::shared_ptr<const ThrowTrace> trace_;
  std::unique_ptr<CancelReason> end_reason_;  // null if empty
  FutureState::Status end_ = FutureState::Status::has_value;
  bool has_begun_ = false;
};

/// Memory for a frame, behind `state_bytes` for the state.
void* allocate_frame(std::size_t frame_bytes, std::size_t state_bytes);
/// The memory for the state of the coroutine in whose frame `in_frame` lies, which has none yet.  Null if the frame is not
/// one of allocate_frame()'s: the compiler may put it elsewhere.
void* take_state_memory(const void* in_frame) noexcept;
/// Frees what allocate_frame() gave, unless a state has been made there: then that frees it.
void free_frame(void* frame) noexcept;

template <class T>
class CoroutineState final : public TaskStateOf<T, CoroutineControl> {
 public:
  static CoroutineState& make(const void* promise, const void* created_at) {
    EventLoop& loop = loop_for_new_object();
    loop.check_usable();
    void* const memory = take_state_memory(promise);
    return memory != nullptr ? *new (memory) CoroutineState(loop, created_at) : *new CoroutineState(loop, created_at);
  }
  template <class... Value>
  void set_value(Value&&... value) {
    if constexpr (sizeof...(Value) != 0) this->value_.emplace(std::forward<Value>(value)...);
  }

  static void* operator new(std::size_t size) { return ::operator new(size); }
  static void* operator new(std::size_t, void* memory) noexcept { return memory; }
  static void operator delete(void* memory) noexcept { ::operator delete(memory); }
  static void operator delete(void*, void*) noexcept {}

 private:
  CoroutineState(EventLoop& loop, const void* created_at) noexcept
      : TaskStateOf<T, CoroutineControl>(loop, created_at) {}
};

/// What co_await makes of a future.  Lies in the frame.
class AwaiterBase {
 public:
  AwaiterBase(CoroutineControl& me, FutureState& future) noexcept : me_(me), wait_(me, future) {}
  AwaiterBase(const AwaiterBase&) = delete;
  AwaiterBase& operator=(const AwaiterBase&) = delete;

  /// Throws: InvalidStateError - a future of another loop, the coroutine's own, or one that waits for it.
  /// Never inlined: the address that it returns to is the place of the co_await.
  [[gnu::noinline]] bool await_ready() const;
  [[gnu::noinline]] void await_suspend(std::coroutine_handle<>) noexcept;

 protected:
  void check() const { me_.check(wait_); }

 private:
  CoroutineControl& me_;
  FuturePark wait_;
};

template <class T>
class Awaiter final : public AwaiterBase {
 public:
  Awaiter(CoroutineControl& me, Future<T> future) noexcept
      : AwaiterBase(me, *future.state()), future_(std::move(future)) {}
  T await_resume() {
    check();
    return future_.state()->get(future_.state()->is_unique());
  }

 private:
  Future<T> future_;
};

/// The task is queued already: there is nothing to undo.
class YieldAwaiter final : public Park {
 public:
  explicit YieldAwaiter(CoroutineControl& me) noexcept : me_(me) {}
  YieldAwaiter(const YieldAwaiter&) = delete;
  YieldAwaiter& operator=(const YieldAwaiter&) = delete;
  void undo() noexcept override {}
  std::string description() const override { return "its next turn"; }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) noexcept { me_.yield(*this); }
  void await_resume() const { me_.check_after_yield(); }

 private:
  CoroutineControl& me_;
};
struct Yield {};

/// The coroutine's beginning.
class Starter {
 public:
  explicit Starter(CoroutineControl& coroutine) noexcept : coroutine_(coroutine) {}
  bool await_ready() const noexcept { return false; }
  /// Never inlined: when it returns the frame may be gone, and nothing of this may lie there.
  [[gnu::noinline]] void await_suspend(std::coroutine_handle<> frame) const noexcept;
  void await_resume() const noexcept {}

 private:
  CoroutineControl& coroutine_;
};

/// `Handle` is Future<T> or Task<T>.  The constructors of what is derived are never inlined: the address that they return to
/// lies in the coroutine's function, by which reports name it.
template <class Handle>
class CoroutinePromiseBase {
 public:
  using T = typename Handle::value_type;
  CoroutinePromiseBase(const CoroutinePromiseBase&) = delete;
  CoroutinePromiseBase& operator=(const CoroutinePromiseBase&) = delete;

  static void* operator new(std::size_t size) { return allocate_frame(size, sizeof(CoroutineState<T>)); }
  static void operator delete(void* frame) noexcept { free_frame(frame); }

  Handle get_return_object() noexcept { return Handle(Ref<FutureStateOf<T>>::adopt(&state_)); }
  Starter initial_suspend() const noexcept { return Starter(state_); }
  std::suspend_never final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { state_.take_exception(); }

  template <class U>
  Awaiter<U> await_transform(Future<U> future) noexcept {
    return Awaiter<U>(state_, std::move(future));
  }
  YieldAwaiter await_transform(Yield) noexcept { return YieldAwaiter(state_); }

 protected:
  explicit CoroutinePromiseBase(const void* created_at) : state_(CoroutineState<T>::make(this, created_at)) {}
  ~CoroutinePromiseBase() { state_.lose_frame(); }

  CoroutineState<T>& state_;
};

template <class Handle, class T = typename Handle::value_type>
class CoroutinePromise final : public CoroutinePromiseBase<Handle> {
 public:
  [[gnu::noinline]] CoroutinePromise() : CoroutinePromiseBase<Handle>(TULP_CALLER) {}

  template <class Value = T>
  requires std::constructible_from<T, Value>
  void return_value(Value&& value) { this->state_.set_value(std::forward<Value>(value)); }
};

template <class Handle>
class CoroutinePromise<Handle, void> final : public CoroutinePromiseBase<Handle> {
 public:
  [[gnu::noinline]] CoroutinePromise() : CoroutinePromiseBase<Handle>(TULP_CALLER) {}

  void return_void() noexcept {}
};

}  // namespace tulp::detail
