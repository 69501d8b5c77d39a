// TaskState: a future that a fiber fulfils.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_state.hpp>
#include <tulp/detail/task_control.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace tulp::detail {

/// One allocation: the future's state, the value, the task's control block and the callable.  The control block comes
/// first, so that call() needs no thunk, which would have no line in a stack trace.
template <class T, class F>
class TaskState final : public TaskControl, public FutureStateOf<T> {
 public:
  template <class G>
  TaskState(EventLoop& loop, const TaskOptions& options, const void* created_at, G&& callable)
      : TaskControl(loop, *this, options), FutureStateOf<T>(loop, created_at), callable_(std::forward<G>(callable)) {}

  TaskControl* task() const noexcept override { return const_cast<TaskState*>(this); }
  std::string description() const override { return "task '" + name() + "'"; }
  bool cancel(CancelReason reason) override {
    return this->is_done() ? FutureState::cancel(std::move(reason)) : request_cancel(std::move(reason));
  }

 private:
  void call() override {
    if constexpr (std::is_void_v<T>)
      std::invoke(*callable_);
    else
      this->value_.emplace(std::invoke(*callable_));
  }
  void destroy_callable() override { callable_.reset(); }
  void end(FutureState::Status status, CancelReason reason) noexcept override {
    if (status == FutureState::Status::cancelled) {
      if constexpr (!std::is_void_v<T>) this->value_.reset();
      this->finish_cancelled(std::move(reason));
    } else {
      this->finish(status);
    }
  }
  std::optional<F> callable_;
};

}  // namespace tulp::detail
