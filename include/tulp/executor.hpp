// Executor: threads for what blocks.  Floor 6, executor.
#pragma once
#include <tulp/concurrent_future.hpp>
#include <tulp/duration.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace tulp {

/// Runs functions on threads of its own.  Thread: any.  Source: PEP 3148 "Executor".
class Executor {
 public:
  using Work = detail::UniqueFunction<void()>;

  virtual ~Executor() = default;
  /// Runs `work` once, or destroys it without having run it.  `work` does not throw.
  /// Throws: InvalidStateError - the executor was shut down; OsError - there is no thread to be had.
  virtual void execute(Work work) = 0;

  /// Runs `f(args...)`, which are stored decayed and moved into the call.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args);
};

struct ThreadPoolOptions {
  /// How many threads it may have; 0 is four more than there are processors, and at most 32.
  std::size_t max_workers = 0;
};

struct ShutdownOptions {
  /// Whether to wait until everything has run and the threads have ended.
  bool wait = true;
  /// Whether to drop what has not begun; it then ends as cancelled.
  bool cancel_futures = false;
};

/// Threads that are made when there is work and none is idle, and stay.  Source: PEP 3148 "ThreadPoolExecutor".
class ThreadPoolExecutor final : public Executor {
 public:
  explicit ThreadPoolExecutor(ThreadPoolOptions options = {});
  /// As shutdown().
  ~ThreadPoolExecutor() override;

  void execute(Work work) override;
  /// Takes no more work.  May be called twice.
  void shutdown(ShutdownOptions options = {});
  /// Drops what has not begun, and lets the threads end by themselves, now or whenever they come back.
  void abandon() noexcept;
  std::size_t thread_count() const;

 private:
  struct Shared;
  static void work(const std::shared_ptr<Shared>& shared) noexcept;
  void stop(bool drops_queue) noexcept;

  std::shared_ptr<Shared> shared_;  // what outlives an abandoned pool while a thread is busy
};

template <class F, class... Args>
auto Executor::submit(F&& f, Args&&... args) {
  auto bound = detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...);
  using T = std::decay_t<std::invoke_result_t<decltype(bound)&>>;
  using Call = detail::RemoteCall<T, decltype(bound)>;
  auto call = detail::Ref<Call>::adopt(new Call(std::move(bound)));
  ConcurrentFuture<T> result(call->get_future(), call);
  execute(detail::Ticket<Call>(std::move(call)));
  return result;
}

namespace detail {

/// `executor`, or the loop's default one; counts the call until `work` is destroyed.
/// Throws: as Executor::execute(); InvalidStateError - the loop is closed, or its default executor was shut down.
void execute_for_loop(EventLoop& loop, Executor* executor, Executor::Work work);

/// Parks until a thread of the loop's default executor has run `body`; a cancellation that comes meanwhile sets `stop`.
void run_in_thread(UniqueFunction<void()> body, std::stop_source& stop);

}  // namespace detail

/// Calls `f(args...)` in a thread of `executor`, or of the loop's default one if that is null.  Cancelling the future
/// withdraws a call that has not begun; one that runs goes on, and what becomes of it is dropped, or reported if it
/// fails.  So a call that uses the caller's locals belongs into to_thread().
/// Throws: as Executor::execute().  Source: PEP 3156 "Thread interaction".
template <class F, class... Args>
auto EventLoop::run_in_executor(Executor* executor, F&& f, Args&&... args) {
  const void* caller = TULP_CALLER;
  auto bound = detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...);
  using T = std::decay_t<std::invoke_result_t<decltype(bound)&>>;
  using Call = detail::RemoteCall<T, decltype(bound)>;
  auto call = detail::Ref<Call>::adopt(new Call(std::move(bound)));
  ConcurrentFuture<T> result(call->get_future(), call);
  detail::execute_for_loop(*this, executor, detail::Ticket<Call>(std::move(call)));
  return detail::wrap(*this, caller, std::move(result));
}

/// Calls `f(args...)` in a thread of the loop's default executor.  Nothing is copied: `f` and `args` are used in place.
/// If `f` takes a std::stop_token first, it gets one, which a cancellation of this task sets.
/// Parks: until it has returned.
/// Cancel: a call that has not begun is withdrawn.  One that runs is waited for, since it may use what the caller owns;
/// its result is returned, and the cancellation comes at the next park.
/// Throws: what `f` throws; as Executor::execute(); InvalidStateError - outside a task.
/// Source: asyncio.to_thread, which does not wait.
template <class F, class... Args>
auto to_thread(F&& f, Args&&... args) {
  std::stop_source stop(std::nostopstate);
  const auto call = [&]() -> decltype(auto) {
    if constexpr (std::is_invocable_v<F, std::stop_token, Args...>)
      return std::invoke(std::forward<F>(f), stop.get_token(), std::forward<Args>(args)...);
    else
      return std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
  };
  if constexpr (std::is_invocable_v<F, std::stop_token, Args...>) stop = std::stop_source();
  using T = std::decay_t<decltype(call())>;
  if constexpr (std::is_void_v<T>) {
    detail::run_in_thread([&] { call(); }, stop);
  } else {
    std::optional<T> result;
    detail::run_in_thread([&] { result.emplace(call()); }, stop);
    return T(std::move(*result));
  }
}

}  // namespace tulp
