// WaitQueue: tasks that wait for the same thing, first in, first out.  Floor 5, tasks.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/task_control.hpp>

namespace tulp::detail {

/// A task's place in a line, on the task's own stack.  Who derives from it adds what the task is handed there.
class WaitEntry : public Park, public ListHook<WaitEntry> {
 public:
  explicit WaitEntry(TaskControl& task) noexcept : task_(task) {}
  void undo() noexcept override { unlink(); }
  /// The entry has left its line.  From now on a cancellation comes too late: what the task was handed is its own.
  void wake() noexcept { task_.loop().post(task_); }

 protected:
  ~WaitEntry() = default;

 private:
  TaskControl& task_;
};

class WaitQueue {
 public:
  bool empty() const noexcept { return waiting_.empty(); }
  /// Parks: until woken.  Cancel: the task has left the queue.
  void wait();
  void wake_one() noexcept;
  void wake_all() noexcept;

 private:
  IntrusiveList<WaitEntry> waiting_;
};

}  // namespace tulp::detail
