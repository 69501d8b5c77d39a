// with_task_group: tasks that end together.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_watch.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/task.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace tulp {

class TaskGroup;
template <class F>
auto with_task_group(F&& body) -> detail::TaskResultOf<F, TaskGroup&>;

namespace detail {

/// What TaskGroup::start() waits for.  Its cancellation is the task's.
template <class T>
class StartState final : public FutureStateOf<T> {
 public:
  using FutureStateOf<T>::FutureStateOf;
  void set_task(FutureState& task) noexcept { task_ = &task; }
  void end_cancelled() noexcept { this->finish_cancelled(task_->cancel_reason()); }
  std::string description() const override { return "start of " + task_->description(); }
  bool cancel(CancelReason reason) override {
    return this->is_done() ? FutureState::cancel(std::move(reason)) : task_->cancel(std::move(reason));
  }

 private:
  FutureState* task_ = nullptr;  // runs as long as this is pending
};

}  // namespace detail

/// In the hands of a function that TaskGroup::start() has started.  Copies are handles to the same.
template <class T = void>
class TaskStatus {
 public:
  /// Lets start() return `value`.  Throws: InvalidStateError - was called before.
  void started(T value) const { Future<T>(state_).set_result(std::move(value)); }

  // For the library.
  explicit TaskStatus(detail::Ref<detail::FutureStateOf<T>> state) noexcept : state_(std::move(state)) {}

 private:
  detail::Ref<detail::FutureStateOf<T>> state_;
};
template <>
class TaskStatus<void> {
 public:
  void started() const { Future<>(state_).set_result(); }

  explicit TaskStatus(detail::Ref<detail::FutureStateOf<void>> state) noexcept : state_(std::move(state)) {}

 private:
  detail::Ref<detail::FutureStateOf<void>> state_;
};

/// The tasks of a with_task_group().  Source: asyncio.TaskGroup.
class TaskGroup : private detail::FutureWatch {
 public:
  /// As tulp::create_task(), for a task of this group: from the body, from one of its tasks, from a callback.  The group
  /// does not count as somebody who waits for the task: whoever awaits the task passes a cancellation on to it.
  /// Throws: InvalidStateError - the group ends because of a failure or of cancel(), or has ended.
  template <class F, class... Args>
  requires(!std::same_as<std::decay_t<F>, TaskOptions> && !detail::AnyFuture<std::decay_t<F>>)
      [[gnu::noinline]] auto create_task(F&& f, Args&&... args) {
    return begin(TaskOptions(), TULP_CALLER, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
  }
  template <class F, class... Args>
  [[gnu::noinline]] auto create_task(TaskOptions options, F&& f, Args&&... args) {
    return begin(options, TULP_CALLER, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
  }

  /// A coroutine that has been called, or any other Future, as one of the tasks.  Throws: as above, and cancels it then.
  template <detail::AnyFuture H>
  H create_task(H future) {
    admit(*future.state());
    return future;
  }

  /// Starts `f(status)` as a task, and waits until that has called `status.started(value)`; the value.  Only then it is a
  /// task of the group: what becomes of it before is this call's.
  ///
  ///   const auto port = group.start<std::uint16_t>([](TaskStatus<std::uint16_t> status) { ...; status.started(port); ... });
  ///
  /// Parks: until then.
  /// Cancel: cancels the task, and waits until it has ended.
  /// Throws: what `f` throws before it has started; InvalidStateError - it returns before; as create_task().
  /// Source: trio's Nursery.start.
  template <class T = void, class F>
  [[gnu::noinline]] T start(F&& f);

  /// A quiet early end: cancels all tasks of the group, and its body if that still runs; that is not an error, and
  /// with_task_group() returns.  May be called again, without effect.
  /// Source: asyncio.TaskGroup.cancel, as it is since Python 3.15.
  [[gnu::noinline]] void cancel(std::string message = {});

 private:
  template <class F>
  friend auto with_task_group(F&& body) -> detail::TaskResultOf<F, TaskGroup&>;
  class JoinPark;

  TaskGroup();
  ~TaskGroup() = default;
  template <class Bound>
  auto begin(const TaskOptions& options, const void* caller, Bound bound) {
    check_open();
    auto task = detail::start_task(parent_.loop(), options, caller, std::move(bound));
    adopt(*task.state());
    return task;
  }
  void check_open() const;
  void admit(detail::FutureState& future);
  void adopt(detail::FutureState& task);
  void abort(const detail::CancelReason& reason) noexcept;
  /// After the body, which has thrown `error`, or null.
  void finish(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace);
  void keep(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace);
  void on_end(detail::Ref<detail::FutureState> task, std::size_t) noexcept override;

  detail::TaskControl& parent_;
  unsigned cancelling_at_entry_;
  std::size_t running_count_ = 0;
  detail::WaitEntry* joining_ = nullptr;
  std::vector<std::exception_ptr> errors_;
  std::vector<std::shared_ptr<const ThrowTrace>> traces_;  // of errors_
  std::exception_ptr interrupt_;                           // a KeyboardInterrupt
  detail::CancelReason join_cancel_reason_;
  bool is_aborting_ = false;
  bool is_body_cancel_asked_ = false;  // by the group
  bool is_body_over_ = false;
  bool was_join_cancelled_ = false;
  bool was_task_cancelled_ = false;
};

/// Calls `body(group)`, and returns what it returned when it and all tasks of the group have ended, those too that its
/// tasks have created meanwhile.  The first failure, of a task or of the body, cancels all the others.  A task that ends
/// cancelled is no failure, nor is a FutureCancelledError of one that was cancelled.
/// Parks: as `body` does, and until the last task has ended.  So tasks may use the locals of whoever calls this.
/// Cancel: comes to the body, and, whether or not that still runs, to the tasks; CancelledError is thrown when all have
/// ended.  Failures win over it, and so does the result if no task was cut short: then it comes at the next park.
/// Throws: ExceptionGroup - one or more have failed; KeyboardInterrupt - one of them threw that, and the failures of the
/// others are reported; FutureCancelledError - TaskGroup::cancel() came before the body had a result to return;
/// InvalidStateError - outside a task.
/// Source: asyncio.TaskGroup.
template <class F>
auto with_task_group(F&& body) -> detail::TaskResultOf<F, TaskGroup&> {
  using T = detail::TaskResultOf<F, TaskGroup&>;
  TaskGroup group;
  std::exception_ptr error;
  std::shared_ptr<const ThrowTrace> trace;
  const auto guarded = [&](auto call) {
    try {
      call();
    } catch (const CancelledError&) {
      error = std::current_exception();
    } catch (const detail::ThrowWatch&) {
    } catch (...) {
      error = std::current_exception();
      trace = detail::take_throw_trace(error);
    }
  };
  if constexpr (std::is_void_v<T>) {
    guarded([&] { detail::call_to_the_end(body, group); });
    group.finish(std::move(error), std::move(trace));
  } else {
    std::optional<T> result;
    guarded([&] { result.emplace(detail::call_to_the_end(body, group)); });
    group.finish(std::move(error), std::move(trace));
    if (!result) throw FutureCancelledError("the task group was cancelled before its body had a result");
    return std::move(*result);
  }
}

template <class T, class F>
T TaskGroup::start(F&& f) {
  const void* caller = TULP_CALLER;
  check_open();
  detail::require_task("TaskGroup::start");
  using State = detail::StartState<T>;
  const auto ready = detail::Ref<State>::adopt(new State(parent_.loop(), caller));
  /// Destroyed with the task's callable, also if that was never called.
  struct Starting {
    explicit Starting(detail::Ref<State> s) noexcept : state(std::move(s)) {}
    Starting(Starting&&) noexcept = default;
    ~Starting() {
      if (state && !state->is_done()) state->end_cancelled();
    }
    detail::Ref<State> state;
  };
  auto body = [starting = Starting(ready), f = std::decay_t<F>(std::forward<F>(f))]() mutable {
    State& state = *starting.state;
    TaskStatus<T> status{detail::Ref<detail::FutureStateOf<T>>(starting.state)};
    try {
      detail::call_to_the_end(f, status);
    } catch (const CancelledError&) {
      throw;
    } catch (const detail::ThrowWatch&) {
    } catch (...) {
      if (state.is_done()) throw;
      const auto error = std::current_exception();
      return state.fail(error, detail::take_throw_trace(error));
    }
    if (!state.is_done())
      state.fail(
          std::make_exception_ptr(InvalidStateError("TaskGroup::start: the task has ended before it had started")));
  };
  const auto task = detail::start_task(parent_.loop(), {}, caller, std::move(body));
  ready->set_task(*task.state());
  detail::wait_until_done(*ready);
  ready->check_value();
  adopt(*task.state());
  return ready->get(true);
}

}  // namespace tulp
