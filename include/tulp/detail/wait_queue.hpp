// WaitQueue: tasks that wait for the same thing, first in, first out.  Floor 5, tasks.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/task_control.hpp>

namespace tulp::detail {

class WaitQueue {
 public:
  bool empty() const noexcept { return waiting_.empty(); }
  /// Parks: until woken.  Cancel: the task has left the queue.
  void wait();
  void wake_one() noexcept;
  void wake_all() noexcept;

 private:
  class Entry;
  IntrusiveList<Entry> waiting_;
};

}  // namespace tulp::detail
