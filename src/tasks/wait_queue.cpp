#include <tulp/detail/wait_queue.hpp>

namespace tulp::detail {

class WaitQueue::Entry final : public Park, public ListHook<Entry> {
 public:
  explicit Entry(TaskControl& task) noexcept : task_(task) {}
  void undo() noexcept override { unlink(); }
  void wake() noexcept { task_.loop().post(task_); }

 private:
  TaskControl& task_;
};

void WaitQueue::wait() {
  Entry entry(*running_task());
  waiting_.push_back(entry);
  park(entry);
}

void WaitQueue::wake_one() noexcept {
  if (!waiting_.empty()) waiting_.pop_front().wake();
}

void WaitQueue::wake_all() noexcept {
  while (!waiting_.empty()) wake_one();
}

}  // namespace tulp::detail
