// ConcurrentFuture: results that cross from one thread to another.  Floor 6, executor.
#pragma once
#include <tulp/detail/loop_link.hpp>
#include <tulp/detail/remote_work.hpp>
#include <tulp/future.hpp>
#include <tulp/task.hpp>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace tulp {

/// A std::future whose work can be cancelled: what run_threadsafe() and Executor::submit() return.  To be waited for in a
/// thread without an event loop; a task awaits wrap_future() of it.
/// Thread: any, one at a time.  Source: PEP 3148 "Future Objects".
template <class T>
class ConcurrentFuture : public std::future<T> {
 public:
  ConcurrentFuture() = default;
  ConcurrentFuture(std::future<T> result, detail::Ref<detail::RemoteWork> work) noexcept
      : std::future<T>(std::move(result)), work_(std::move(work)) {}

  /// Asks the work to end.  A call that waits for a thread is withdrawn; one that runs in a thread cannot be stopped; a
  /// task on a loop gets a CancelledError at its next park.  What was cancelled throws FutureCancelledError from get().
  /// False if it is too late.
  bool cancel(const std::string& message = {}) { return work_ && work_->cancel(message); }

  // For the library.
  const detail::Ref<detail::RemoteWork>& work() const noexcept { return work_; }

 private:
  detail::Ref<detail::RemoteWork> work_;
};

namespace detail {

/// A future of a loop that gets its result from another thread.  As a Runnable it is the arrival of that result.
template <class T>
class WrappedState final : public FutureStateOf<T>, private Runnable {
 public:
  WrappedState(EventLoop& loop, const void* created_at, ConcurrentFuture<T> source)
      : FutureStateOf<T>(loop, created_at), source_(std::move(source)) {}

  void start() {
    source_.work()->on_done([self = Ref<WrappedState>::share(this), link = this->loop().link()]() mutable {
      if (link->post(*self)) static_cast<void>(self.release());
    });
  }
  bool cancel(CancelReason reason) override {
    if (!this->is_done()) source_.work()->cancel(reason.message);
    return FutureState::cancel(std::move(reason));
  }

 private:
  void run() noexcept override {
    const auto self = Ref<WrappedState>::adopt(this);
    try {
      if constexpr (std::is_void_v<T>) {
        source_.get();
        if (!this->is_done()) this->set_value();
      } else {
        T value = source_.get();
        if (!this->is_done()) this->set_value(std::move(value));
      }
    } catch (const FutureCancelledError& cancelled) {
      if (!this->is_done()) this->fail(std::current_exception());
    } catch (...) {
      const auto& trace = source_.work()->trace();
      if (!this->is_done()) return this->fail(std::current_exception(), trace);
      this->loop().call_exception_handler({.message = "a call in another thread failed after its future was cancelled",
                                           .exception = std::current_exception(),
                                           .created_at = this->created_at(),
                                           .trace = trace});
    }
  }
  void discard() noexcept override { Ref<WrappedState>::adopt(this); }

  ConcurrentFuture<T> source_;
};

template <class T>
Future<T> wrap(EventLoop& loop, const void* caller, ConcurrentFuture<T> source) {
  loop.check_usable();
  auto state = Ref<WrappedState<T>>::adopt(new WrappedState<T>(loop, caller, std::move(source)));
  state->start();
  return Future<T>(Ref<FutureStateOf<T>>(std::move(state)));
}

/// A call that another thread makes of a loop: a task there, and its result here.
template <class T, class F>
class LoopCall final : public RemoteResult<T>, private Runnable {
 public:
  template <class G>
  LoopCall(EventLoop& loop, const void* caller, G&& function)
      : loop_(loop), link_(loop.link()), caller_(caller), function_(std::forward<G>(function)) {}

  /// Throws: InvalidStateError - the loop is closed.
  void start() {
    this->add_ref();  // the loop's
    if (link_->post(*this)) return;
    this->drop_ref();
    throw InvalidStateError("the event loop is closed");
  }
  bool cancel(const std::string& message) override {
    if (is_over_.load(std::memory_order_acquire)) return false;
    auto request = std::make_unique<CancelRequest>(Ref<LoopCall>::share(this), message);
    if (!link_->post(*request)) return false;
    static_cast<void>(request.release());
    return true;
  }

 private:
  class CancelRequest final : public Runnable {
   public:
    CancelRequest(Ref<LoopCall> call, std::string message) : call_(std::move(call)), message_(std::move(message)) {}
    void run() noexcept override {
      if (call_->task_) call_->task_->cancel(CancelReason(message_));
      delete this;
    }
    void discard() noexcept override { delete this; }

   private:
    Ref<LoopCall> call_;
    std::string message_;
  };
  /// The task's end; or, if it is dropped unseen, the loop's.
  class End {
   public:
    explicit End(Ref<LoopCall> call) noexcept : call_(std::move(call)) {}
    End(End&&) noexcept = default;
    ~End() {
      if (call_) call_->conclude([]() -> T { throw FutureCancelledError("the event loop has closed"); });
    }
    void operator()(const Task<T>& task) {
      const auto call = std::exchange(call_, nullptr);
      call->task_ = nullptr;
      call->conclude([&]() -> T { return task.state()->get(true); });
    }

   private:
    Ref<LoopCall> call_;
  };

  void run() noexcept override {
    const auto self = Ref<LoopCall>::adopt(this);
    try {
      Task<T> task = start_task(loop_, {}, caller_, std::move(*function_));
      function_.reset();
      task_ = task.state();
      task_->add_done_callback([end = End(self), task = Task<T>(task)](FutureState&) mutable { end(task); });
    } catch (...) {
      conclude([error = std::current_exception()]() -> T { std::rethrow_exception(error); });
    }
  }
  void discard() noexcept override { End(Ref<LoopCall>::adopt(this)); }
  template <class Get>
  void conclude(Get get) noexcept {
    is_over_.store(true, std::memory_order_release);
    this->fulfil(std::move(get));
  }

  EventLoop& loop_;
  std::shared_ptr<LoopLink> link_;
  const void* caller_;
  std::optional<F> function_;
  Ref<FutureState> task_;  // of the loop's thread
  std::atomic<bool> is_over_ = false;
};

/// Runs `wait`, which may block for ever, in a thread of its own.
void start_waiter(EventLoop& loop, UniqueFunction<void()> wait);

}  // namespace detail

/// Runs `f()` as a task of `loop`, which another thread runs.
/// Thread: any.  Waiting for the result on the loop's own thread would wait for ever.
/// Throws: InvalidStateError - the loop is closed.  Source: asyncio.run_coroutine_threadsafe.
template <class F>
[[gnu::noinline]] auto run_threadsafe(EventLoop& loop, F&& f) {
  using T = detail::TaskResultOf<std::decay_t<F>>;
  using Call = detail::LoopCall<T, std::decay_t<F>>;
  auto call = detail::Ref<Call>::adopt(new Call(loop, TULP_CALLER, std::forward<F>(f)));
  std::future<T> result = call->get_future();
  call->start();
  return ConcurrentFuture<T>(std::move(result), std::move(call));
}

/// A future of this thread's loop with the result of `source`.  Cancelling it asks the source's work to end, and does not
/// wait for that.  Source: PEP 3156 "Thread interaction"; asyncio.wrap_future.
template <class T>
[[gnu::noinline]] Future<T> wrap_future(ConcurrentFuture<T> source) {
  if (!source.valid()) throw InvalidStateError("wrap_future: the future has no state");
  return detail::wrap(detail::loop_for_new_object(), TULP_CALLER, std::move(source));
}

/// The same of any std::future.  Nobody tells when such a one is done, so a thread of its own waits for it; cancelling
/// the result leaves that thread waiting.
/// Throws: OsError - there is no thread to be had.
template <class T>
[[gnu::noinline]] Future<T> wrap_future(std::future<T> source) {
  if (!source.valid()) throw InvalidStateError("wrap_future: the future has no state");
  EventLoop& loop = detail::loop_for_new_object();
  auto wait = [source = std::move(source)]() mutable { return source.get(); };
  using Call = detail::RemoteCall<T, decltype(wait)>;
  auto call = detail::Ref<Call>::adopt(new Call(std::move(wait)));
  ConcurrentFuture<T> result(call->get_future(), call);
  Future<T> wrapped = detail::wrap(loop, TULP_CALLER, std::move(result));
  detail::start_waiter(loop, detail::Ticket<Call>(std::move(call)));
  return wrapped;
}

}  // namespace tulp
