// Promise: a Future that any thread completes.  Floor 6, executor.
//
// The recipe for a C library that calls back, on a thread of its own or not:
//
//   Future<int> look_up(const char* name) {
//     auto promise = std::make_unique<Promise<int>>();
//     Future<int> future = promise->get_future();
//     const auto call_back = [](int answer, void* user) {
//       const std::unique_ptr<Promise<int>> done(static_cast<Promise<int>*>(user));
//       done->set_result(answer);
//     };
//     library_look_up(name, call_back, promise.get());   // throws nothing, and calls back once
//     promise.release();
//     return future;
//   }
#pragma once
#include <tulp/detail/loop_link.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/future.hpp>

#include <atomic>
#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {

/// The future, and what has become of it on another thread.  As a Runnable it is the arrival of that.
template <class T>
class PromiseState final : public FutureStateOf<T>, private Runnable {
 public:
  enum class End : std::uint8_t { dropped, value, error, cancelled };

  PromiseState(EventLoop& loop, const void* created_at) : FutureStateOf<T>(loop, created_at), link_(loop.link()) {}

  std::string description() const override { return "promise"; }
  bool cancel(CancelReason reason) override {
    if (this->is_done()) return FutureState::cancel(std::move(reason));
    this->take_note();
    is_cancel_asked_.store(true, std::memory_order_release);
    if (!listener_) return FutureState::cancel(std::move(reason));
    if (!was_listener_told_ && !this->loop().is_closed()) this->loop().call_soon(listener_);
    was_listener_told_ = true;
    reason_ = std::move(reason);
    return true;
  }
  void set_listener(std::function<void()> listener) { listener_ = std::move(listener); }
  bool is_cancel_asked() const noexcept { return is_cancel_asked_.load(std::memory_order_acquire); }

  // For the promise's thread, once.

  template <class... Value>
  void keep_value(Value&&... value) {
    if constexpr (sizeof...(Value) != 0) kept_.emplace(std::forward<Value>(value)...);
  }
  void keep_error(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace) noexcept {
    error_ = std::move(error);
    trace_ = std::move(trace);
  }
  static void arrive(Ref<PromiseState> self, End end) noexcept {
    self->end_ = end;
    if (end == End::dropped && self->is_unique()) self->take_note();  // nobody has the Future
    const std::shared_ptr<LoopLink> link = self->link_;
    const EventLoop* const running = get_running_loop();
    if (running != nullptr && running->link() == link)
      self->conclude();
    else if (link->post(*self))
      static_cast<void>(self.release());
  }

 private:
  void run() noexcept override {
    const auto self = Ref<PromiseState>::adopt(this);
    conclude();
  }
  void discard() noexcept override { Ref<PromiseState>::adopt(this); }
  Origin origin() const override { return {.what = "end of a promise", .created_at = this->created_at()}; }

  void conclude() noexcept {
    listener_ = nullptr;
    if (this->is_done()) {
      if (end_ == End::error) report_late_error();
    } else if (end_ == End::cancelled || (end_ == End::dropped && is_cancel_asked())) {
      this->finish_cancelled(std::move(reason_));
    } else if (end_ == End::dropped) {
      this->fail(std::make_exception_ptr(InvalidStateError("the promise was dropped without a result")));
    } else if (end_ == End::error) {
      this->fail(std::move(error_), std::move(trace_));
    } else if constexpr (std::is_void_v<T>) {
      this->set_value();
    } else {
      try {
        this->set_value(std::move(*kept_));
      } catch (...) {  // the move
        this->fail(std::current_exception());
      }
    }
    kept_.reset();
  }
  void report_late_error() noexcept {
    this->loop().call_exception_handler({.message = "a promise failed after its future was cancelled",
                                         .exception = error_,
                                         .created_at = this->created_at(),
                                         .trace = trace_});
  }

  std::shared_ptr<LoopLink> link_;
  std::function<void()> listener_;
  CancelReason reason_;
  std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> kept_;
  std::exception_ptr error_;
  std::shared_ptr<const ThrowTrace> trace_;
  End end_ = End::dropped;
  bool was_listener_told_ = false;
  std::atomic<bool> is_cancel_asked_ = false;
};

/// What both Promise templates have in common.
template <class T>
class PromiseBase {
 public:
  PromiseBase(PromiseBase&&) noexcept = default;
  PromiseBase& operator=(PromiseBase&& other) noexcept {
    if (this != &other) {
      end(State::End::dropped);
      state_ = std::move(other.state_);
    }
    return *this;
  }

  /// False when it has been completed, or moved from.
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  /// May be asked for before the promise is completed, as often as one likes.
  /// Thread: the loop's.  Throws: InvalidStateError - it has been completed.
  Future<T> get_future() const { return Future<T>(Ref<FutureStateOf<T>>(present())); }
  /// Whether the Future has been cancelled, so that its result is not wanted any more.
  bool is_cancelled() const { return present()->is_cancel_asked(); }
  /// From now on a cancellation of the Future calls `listener()`, in its turn and once, and leaves the Future pending until
  /// the promise is completed: with set_cancelled(), or with a result after all, which then wins.  For work that uses
  /// memory of whoever waits for it.  Without a listener the Future ends at once, and the result is dropped.
  /// Thread: the loop's.
  void on_cancel(std::function<void()> listener) { present()->set_listener(std::move(listener)); }

  void set_exception(std::exception_ptr error) {
    if (error == nullptr) throw std::invalid_argument("Promise::set_exception: null");
    present()->keep_error(std::move(error), nullptr);
    end(State::End::error);
  }
  template <class E>
  requires(!std::same_as<std::decay_t<E>, std::exception_ptr>) void set_exception(E&& error) {
    set_exception(std::make_exception_ptr(std::forward<E>(error)));
  }
  /// The work was stopped, because is_cancelled() or on_cancel() said so: the Future ends as cancelled.
  void set_cancelled() {
    present();
    end(State::End::cancelled);
  }

 protected:
  using State = PromiseState<T>;
  PromiseBase(EventLoop& loop, const void* caller) {
    loop.check_usable();
    state_ = Ref<State>::adopt(new State(loop, caller));
  }
  ~PromiseBase() { end(State::End::dropped); }

  const Ref<State>& present() const {
    if (!state_) throw InvalidStateError("the promise has been completed before");
    return state_;
  }
  void end(typename State::End how) noexcept {
    if (state_) State::arrive(std::move(state_), how);
  }

 private:
  Ref<State> state_;
};

}  // namespace detail

/// The other end of a Future, for callbacks of other threads and of C libraries: it completes its Future once.  One that is
/// dropped before that ends its Future with an InvalidStateError, so that nobody waits for ever.
///
/// Thread: made on the loop's; completed and dropped on any, one at a time.  When the loop has closed, completing it has no
/// effect.  Source: std::promise; tulp only.
template <class T = void>
class Promise : public detail::PromiseBase<T> {
 public:
  /// Of this thread's loop.
  [[gnu::noinline]] Promise() : Promise(detail::loop_for_new_object(), TULP_CALLER) {}
  [[gnu::noinline]] explicit Promise(EventLoop& loop) : Promise(loop, TULP_CALLER) {}

  /// Throws: InvalidStateError - it has been completed before; what moving the value throws.
  void set_result(T value) {
    this->present()->keep_value(std::move(value));
    this->end(detail::PromiseState<T>::End::value);
  }

 private:
  Promise(EventLoop& loop, const void* caller) : detail::PromiseBase<T>(loop, caller) {}
};

template <>
class Promise<void> : public detail::PromiseBase<void> {
 public:
  [[gnu::noinline]] Promise() : Promise(detail::loop_for_new_object(), TULP_CALLER) {}
  [[gnu::noinline]] explicit Promise(EventLoop& loop) : Promise(loop, TULP_CALLER) {}

  void set_result() {
    present();
    end(State::End::value);
  }

 private:
  Promise(EventLoop& loop, const void* caller) : PromiseBase(loop, caller) {}
};

}  // namespace tulp
