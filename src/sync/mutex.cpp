#include <tulp/mutex.hpp>

#include <mutex>

#include <tulp/error.hpp>

#include "sync/flow_wait.hpp"

namespace tulp {
namespace {

/// A task, else a thread.
const void* this_flow() noexcept {
  static thread_local constinit char thread = 0;
  const detail::TaskControl* const task = detail::running_task();
  return task != nullptr ? static_cast<const void*>(task) : &thread;
}

}  // namespace

bool mutex::lock_or_leave(Duration limit) {
  detail::FlowWait wait(waiting_, "mutex::lock", "the mutex", detail::FlowWait::Cancel::never);
  {
    const std::lock_guard guard(waiting_.guard());
    if (state_.exchange(has_waiters, std::memory_order_acquire) == is_free) {
      state_.store(is_locked, std::memory_order_relaxed);  // free meanwhile, so that nobody waits
      return true;
    }
    waiting_.push(wait);
  }
  return wait.wait(limit);  // whoever wakes us leaves it locked
}

/// Somebody waits; or did until now, and has left the line when the time was over.
void mutex::hand_over() {
  detail::FlowWait* next = nullptr;
  {
    const std::lock_guard guard(waiting_.guard());
    if (state_.load(std::memory_order_relaxed) == is_free)
      throw InvalidStateError("mutex::unlock: the mutex is not locked");
    next = waiting_.pop();
    if (waiting_.empty()) state_.store(next != nullptr ? is_locked : is_free, std::memory_order_release);
  }
  if (next != nullptr) next->wake();
}

void recursive_mutex::lock() {
  const void* const me = this_flow();
  if (owner_.load(std::memory_order_relaxed) != me) {
    mutex_.lock();
    owner_.store(me, std::memory_order_relaxed);
  }
  ++depth_;
}

bool recursive_mutex::try_lock() noexcept {
  const void* const me = this_flow();
  if (owner_.load(std::memory_order_relaxed) != me) {
    if (!mutex_.try_lock()) return false;
    owner_.store(me, std::memory_order_relaxed);
  }
  return ++depth_, true;
}

void recursive_mutex::unlock() {
  if (owner_.load(std::memory_order_relaxed) != this_flow())
    throw InvalidStateError("recursive_mutex::unlock: whoever calls this does not have the mutex");
  if (--depth_ > 0) return;
  owner_.store(nullptr, std::memory_order_relaxed);
  mutex_.unlock();
}

}  // namespace tulp
