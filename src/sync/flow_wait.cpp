#include "sync/flow_wait.hpp"

#include <tulp/detail/wait_queue.hpp>

#include "tasks/park_until.hpp"

namespace tulp::detail {

void FlowQueue::push(FlowWait& wait) noexcept {
  wait.is_in_line_ = true;
  wait.next_ = nullptr;
  wait.previous_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &wait;
  last_ = &wait;
}

FlowWait* FlowQueue::pop() noexcept {
  FlowWait* const wait = first_;
  if (wait != nullptr) remove(*wait);
  return wait;
}

bool FlowQueue::remove(FlowWait& wait) noexcept {
  if (!wait.is_in_line_) return false;
  wait.is_in_line_ = false;
  (wait.previous_ != nullptr ? wait.previous_->next_ : first_) = wait.next_;
  (wait.next_ != nullptr ? wait.next_->previous_ : last_) = wait.previous_;
  return true;
}

void FlowQueue::wake_one() noexcept {
  FlowWait* wait = nullptr;
  {
    const std::lock_guard lock(guard_);
    wait = pop();
  }
  if (wait != nullptr) wait->wake();
}

void FlowQueue::wake_all() noexcept {
  FlowWait* wait = nullptr;
  {
    const std::lock_guard lock(guard_);
    wait = first_;
    for (FlowWait* each = wait; each != nullptr; each = each->next_) each->is_in_line_ = false;
    first_ = last_ = nullptr;
  }
  while (wait != nullptr) {
    FlowWait* const next = wait->next_;  // it may be gone once it is awake
    wait->wake();
    wait = next;
  }
}

FlowWait::FlowWait(FlowQueue& queue, const char* function, const char* what, Cancel cancel)
    : queue_(queue),
      what_(what),
      cancel_(cancel),
      task_(running_task() != nullptr || get_running_loop() != nullptr ? &require_task(function) : nullptr) {
  if (task_ != nullptr) link_ = task_->loop().link();
}

bool FlowWait::wait(Duration limit) { return task_ != nullptr ? park_for(limit) : block_for(limit); }

bool FlowWait::park_for(Duration limit) {
  park_until(*this, *task_, after(task_->loop().time(), limit));
  if (is_woken_) return true;
  {
    const std::lock_guard lock(queue_.guard());
    if (queue_.remove(*this)) return false;
  }
  cancel_ = Cancel::never;
  while (!is_woken_) park(*this);  // it is on its way
  return true;
}

bool FlowWait::block_for(Duration limit) {
  std::unique_lock lock(mutex_);
  const auto is_woken = [this] { return is_woken_; };
  if (limit.is_never()) {
    condition_.wait(lock, is_woken);
    return true;
  }
  if (condition_.wait_until(lock, after(std::chrono::steady_clock::now(), limit), is_woken)) return true;
  lock.unlock();
  {
    const std::lock_guard guard(queue_.guard());
    if (queue_.remove(*this)) return false;
  }
  lock.lock();
  condition_.wait(lock, is_woken);
  return true;
}

void FlowWait::wake() noexcept {
  if (task_ == nullptr) {
    const std::lock_guard lock(mutex_);  // so that who waits cannot be gone before the notification
    is_woken_ = true;
    condition_.notify_one();
  } else if (get_running_loop() == &task_->loop()) {
    run();
  } else {
    const auto link = link_;
    // A loop that has closed has no tasks any more that could go on.
    link->post(*this);
  }
}

/// On the thread of the task's loop.  A timer, or a park for something else, may have queued the task already.
void FlowWait::run() noexcept {
  is_woken_ = true;
  if (!task_->is_queued()) task_->loop().post(*task_);
}

/// Called where the task is cancelled, which then goes on.
bool FlowWait::can_be_left() noexcept {
  if (cancel_ == Cancel::never) return false;
  const std::lock_guard lock(queue_.guard());
  return queue_.remove(*this);
}

std::string FlowWait::description() const { return describe_object(what_, &queue_); }

}  // namespace tulp::detail
