// park_within: parks with a limit.  Floor 8, streams.
#pragma once
#include <tulp/detail/task_control.hpp>
#include <tulp/duration.hpp>

namespace tulp::detail {

/// As park(), but not longer than `limit`.  False if that has passed; the task may have been woken all the same.
inline bool park_within(Park& wait, TaskControl& me, Duration limit) {
  if (limit.is_never()) {
    park(wait);
    return true;
  }
  struct Limit {
    Limit(TaskControl& task, Duration delay) : loop(task.loop()), timer(task) {
      timer.set_when(after(loop.time(), delay));
      loop.start_timer(timer);
    }
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;
    ~Limit() { loop.stop_timer(timer); }
    EventLoop& loop;
    Timer timer;
  } const running(me, limit);
  park(wait);
  return running.timer.is_scheduled();
}

}  // namespace tulp::detail
