// park_until: parks with a limit.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_control.hpp>
#include <tulp/duration.hpp>

namespace tulp::detail {

/// As park(), but not beyond `deadline`.  False if that has passed; the task may have been woken all the same.
inline bool park_until(Park& wait, TaskControl& me, TimePoint deadline) {
  if (deadline == TimePoint::max()) {
    park(wait);
    return true;
  }
  struct Limit {
    Limit(TaskControl& task, TimePoint when) : loop(task.loop()), timer(task) {
      timer.set_when(when);
      loop.start_timer(timer);
    }
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;
    ~Limit() { loop.stop_timer(timer); }
    EventLoop& loop;
    Timer timer;
  } const limit(me, deadline);
  park(wait);
  return limit.timer.is_scheduled();
}

}  // namespace tulp::detail
