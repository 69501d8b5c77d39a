// TaskState: a future that a fiber fulfils.  Floor 5, tasks.
#pragma once
#include <tulp/detail/block_pool.hpp>
#include <tulp/detail/future_state.hpp>
#include <tulp/detail/task_control.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace tulp::detail {

/// A task's control block and the state of the future that it fulfils.  The control block comes first, so that call() needs
/// no thunk, which would have no line in a stack trace.
template <class T, class Control>
class TaskStateOf : public Control, public FutureStateOf<T> {
 public:
  TaskControl* task() const noexcept final { return const_cast<TaskStateOf*>(this); }
  std::string description() const final { return Control::kind_of_task + (" '" + this->name()) + "'"; }
  bool cancel(CancelReason reason) final {
    return this->is_done() ? FutureState::cancel(std::move(reason)) : this->request_cancel(std::move(reason));
  }

 protected:
  template <class... Options>
  TaskStateOf(EventLoop& loop, const void* created_at, const Options&... options)
      : Control(loop, *this, options...), FutureStateOf<T>(loop, created_at) {}

 private:
  void end_with_value() noexcept final { this->finish(FutureState::Status::has_value); }
  void end_cancelled(CancelReason reason) noexcept final {
    if constexpr (!std::is_void_v<T>) this->value_.reset();
    this->finish_cancelled(std::move(reason));
  }
};

/// One allocation: the future's state, the value, the task's control block and the callable.
template <class T, class F>
class TaskState final : public TaskStateOf<T, TaskControl> {
 public:
  template <class G>
  TaskState(EventLoop& loop, const TaskOptions& options, const void* created_at, G&& callable)
      : TaskStateOf<T, TaskControl>(loop, created_at, options), callable_(std::forward<G>(callable)) {}

  static void* operator new(std::size_t) { return allocate_for<TaskState>(); }
  static void operator delete(void* memory) noexcept { free_for<TaskState>(memory); }

 private:
  void call() override {
    if constexpr (std::is_void_v<T>)
      std::invoke(*callable_);
    else
      this->value_.emplace(std::invoke(*callable_));
  }
  void destroy_callable() override { callable_.reset(); }
  std::optional<F> callable_;
};

}  // namespace tulp::detail
