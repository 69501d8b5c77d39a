#include <tulp/condition_variable.hpp>

#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>

#include "sync/flow_wait.hpp"

namespace tulp {

TimePoint condition_variable::now() {
  const EventLoop* const loop = get_running_loop();
  return loop != nullptr ? loop->time() : std::chrono::steady_clock::now();
}

bool condition_variable::wait_or_leave(std::unique_lock<mutex>& lock, Duration limit) {
  if (!lock.owns_lock()) throw InvalidStateError("condition_variable::wait: the mutex is not locked");
  detail::FlowWait wait(waiting_, "condition_variable::wait", "the condition variable",
                        detail::FlowWait::Cancel::leaves_line);
  {
    const std::lock_guard guard(waiting_.guard());
    waiting_.push(wait);
  }
  struct Unlocked {  // until the end of its scope
    explicit Unlocked(std::unique_lock<mutex>& l) : lock(l) { lock.unlock(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked() { lock.lock(); }
    std::unique_lock<mutex>& lock;
  } const unlocked(lock);
  return wait.wait(limit);
}

}  // namespace tulp
