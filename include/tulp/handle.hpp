// Handle and TimerHandle: callbacks that have been scheduled.  Floor 3, events.
#pragma once
#include <tulp/detail/block_pool.hpp>
#include <tulp/detail/context.hpp>
#include <tulp/detail/ref.hpp>
#include <tulp/loop_core.hpp>
#include <tulp/throw_trace.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {

/// A callback with its arguments, from call_soon() to its end.  It is born with two references: the loop's, which ends with
/// its turn, and the first handle's.
class Callback : public Runnable {
 public:
  enum class State : std::uint8_t { pending, cancelled, done };

  Callback(EventLoop& loop, const void* created_at) noexcept : loop_(loop), created_at_(created_at) {}

  State state() const noexcept { return state_; }
  Origin origin() const override { return {.what = "callback", .created_at = created_at_}; }
  void discard() noexcept final;
  /// Frees the callable at once.  The queue's entry stays until its turn, and does nothing then.
  virtual void cancel() noexcept;

  void add_ref() noexcept { references_.add(); }
  void drop_ref() noexcept {
    if (references_.drop()) delete this;
  }

 protected:
  virtual ~Callback() = default;
  virtual void destroy_callable() noexcept = 0;
  /// Whether this is its turn, and it is to be called.
  bool begin() noexcept {
    if (state_ != State::pending) return false;
    state_ = State::done;
    return true;
  }
  /// In a catch clause behind one for ThrowWatch.
  void report_failure() const noexcept;
  const Ref<Context>& context() const noexcept { return context_; }
  EventLoop& loop() const noexcept { return loop_; }

 private:
  State state_ = State::pending;
  RefCount references_{2};
  EventLoop& loop_;
  const void* created_at_;
  Ref<Context> context_ = capture_context();
};

/// A callback that waits for its time.
class TimedCallback : public Callback, public Timer {
 public:
  TimedCallback(EventLoop& loop, const void* created_at) noexcept
      : Callback(loop, created_at), Timer(static_cast<Runnable&>(*this)) {}
  void cancel() noexcept override;
};

/// With the callable, which exists while the callback is pending, and while it runs.
template <class Base, class F>
class CallbackOf final : public Base {
 public:
  template <class G>
  CallbackOf(EventLoop& loop, const void* created_at, G&& callable)
      : Base(loop, created_at), callable_(std::forward<G>(callable)) {}

  static void* operator new(std::size_t) { return allocate_for<CallbackOf>(); }
  static void operator delete(void* memory) noexcept { free_for<CallbackOf>(memory); }

  void run() noexcept override {  // here, and not in steps in Callback, so that it takes one virtual call
    if (this->begin()) {
      const ContextScope scope(this->context());
      try {
        std::invoke(callable_);
      } catch (const ThrowWatch&) {
      } catch (...) {
        this->report_failure();
      }
      std::destroy_at(&callable_);
    }
    this->drop_ref();
  }

 private:
  ~CallbackOf() override {
    if (this->state() == Callback::State::pending) std::destroy_at(&callable_);
  }
  void destroy_callable() noexcept override { std::destroy_at(&callable_); }
  union {
    F callable_;
  };
};

/// `f` with `args` bound, to be called once: the arguments are moved into the call.
template <class F, class... Args>
auto bind_once(F&& f, Args&&... args) {
  if constexpr (sizeof...(Args) == 0) {
    return std::decay_t<F>(std::forward<F>(f));
  } else {
    return [f = std::decay_t<F>(std::forward<F>(f)),
            args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable -> decltype(auto) {
      return std::apply(std::move(f), std::move(args));
    };
  }
}

/// `f` with `args` bound, to be called any number of times.
template <class F, class... Args>
auto bind_repeated(F&& f, Args&&... args) {
  if constexpr (sizeof...(Args) == 0) {
    return std::decay_t<F>(std::forward<F>(f));
  } else {
    return [f = std::decay_t<F>(std::forward<F>(f)),
            args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable { std::apply(f, args); };
  }
}

}  // namespace detail

/// A callback scheduled by call_soon().  Copies name the same callback; dropping them changes nothing.
/// Thread: may be copied and dropped anywhere.  Source: PEP 3156 "Handles".
class Handle {
 public:
  Handle() = default;
  explicit Handle(detail::Ref<detail::Callback> callback) noexcept : callback_(std::move(callback)) {}

  /// The callback will not run; what it holds is destroyed before this returns.  May be called twice, and is without
  /// effect on a callback that has begun.
  void cancel() noexcept {
    if (callback_) callback_->cancel();
  }
  /// Whether cancel() was called, be it too late.
  bool cancelled() const noexcept { return callback_ && callback_->state() == detail::Callback::State::cancelled; }

 protected:
  detail::Ref<detail::Callback> callback_;
};

/// A callback scheduled by call_later() or call_at().
class TimerHandle : public Handle {
 public:
  TimerHandle() = default;
  explicit TimerHandle(detail::Ref<detail::TimedCallback> callback) noexcept : Handle(std::move(callback)) {}

  /// The time at which the callback is due, on its loop's clock.  Not for a default-constructed handle.
  TimePoint when() const noexcept { return static_cast<detail::TimedCallback&>(*callback_).when(); }
};

}  // namespace tulp
