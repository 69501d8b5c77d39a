// WaitQueue: tasks that wait for the same thing, first in, first out.  Floor 5, tasks.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/task_control.hpp>

namespace tulp::detail {

/// For reports: "the lock 0x55d0c8a1", with the address to tell it from others.
std::string describe_object(const char* what, const void* object);

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
  /// Parks: until woken.  Cancel: the task has left the queue.  Reports say that it waits for `what`, such as "the lock",
  /// which `holder` has, the number of a task, or 0.
  void wait(const char* what = "its turn", const std::uint64_t* holder = nullptr);
  void wake_one() noexcept;
  void wake_all() noexcept;

 private:
  IntrusiveList<WaitEntry> waiting_;
};

}  // namespace tulp::detail
