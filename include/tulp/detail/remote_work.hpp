// RemoteWork: what another thread does, and its result.  Floor 6, executor.
#pragma once
#include <tulp/detail/ref.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/error.hpp>
#include <tulp/throw_trace.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace tulp::detail {

/// The side of a ConcurrentFuture that the work is on.  Thread: any.
class RemoteWork : public RefCounted {
 public:
  /// Asks the work to end without a result.  False if it is too late for that.
  virtual bool cancel(const std::string& message) = 0;
  /// Calls `callback` once when the result is there, on the thread that brings it; now if it is there.
  void on_done(UniqueFunction<void()> callback);
  /// Of what it has failed with; for whoever has been told of the end.
  const std::shared_ptr<const ThrowTrace>& trace() const noexcept { return trace_; }

 protected:
  void notify_done() noexcept;
  std::shared_ptr<const ThrowTrace> trace_;

 private:
  std::mutex mutex_;
  bool is_done_ = false;
  UniqueFunction<void()> callback_;
};

template <class T>
class RemoteResult : public RemoteWork {
 public:
  std::future<T> get_future() { return promise_.get_future(); }

 protected:
  /// Takes what `get()` returns or throws.
  template <class Get>
  void fulfil(Get get) noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        get();
        promise_.set_value();
      } else {
        promise_.set_value(get());
      }
    } catch (const ThrowWatch&) {
    } catch (...) {
      const auto error = std::current_exception();
      trace_ = take_throw_trace(error);
      promise_.set_exception(error);
    }
    notify_done();
  }
  void abandon(const std::string& message) noexcept {
    fulfil([&]() -> T { throw FutureCancelledError(message); });
  }

 private:
  std::promise<T> promise_;
};

/// A function that is queued, then runs, unless it is withdrawn before.
template <class T, class F>
class RemoteCall final : public RemoteResult<T> {
 public:
  template <class G>
  explicit RemoteCall(G&& function) : function_(std::forward<G>(function)) {}

  /// Everything that the function held is gone before anybody hears of its end.
  void run() noexcept {
    if (!leave_queue()) return;
    this->fulfil([this]() -> T {
      struct Clear {
        std::optional<F>& function;
        ~Clear() { function.reset(); }
      } clear{function_};
      return std::invoke(*function_);
    });
  }
  bool cancel(const std::string& message) override {
    if (!leave_queue()) return false;
    function_.reset();
    this->abandon(message);
    return true;
  }

 private:
  bool leave_queue() noexcept { return is_queued_.exchange(false, std::memory_order_acq_rel); }
  std::atomic<bool> is_queued_ = true;
  std::optional<F> function_;
};

/// What an executor is given: runs the call, or withdraws it when it is dropped unrun.
template <class Call>
class Ticket {
 public:
  explicit Ticket(Ref<Call> call) noexcept : call_(std::move(call)) {}
  Ticket(Ticket&&) noexcept = default;
  Ticket& operator=(Ticket&&) = delete;
  ~Ticket() {
    if (call_) call_->cancel("the executor was shut down");
  }
  void operator()() { std::exchange(call_, nullptr)->run(); }

 private:
  Ref<Call> call_;
};

}  // namespace tulp::detail
