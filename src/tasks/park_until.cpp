#include "tasks/park_until.hpp"

namespace tulp::detail {
namespace {

/// Wakes a task at a time, unless it dies before.
class Alarm {
 public:
  Alarm(TaskControl& task, TimePoint when) : loop_(task.loop()), timer_(task) {
    timer_.set_when(when);
    loop_.start_timer(timer_);
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() { loop_.stop_timer(timer_); }
  bool is_scheduled() const noexcept { return timer_.is_scheduled(); }

 private:
  EventLoop& loop_;
  Timer timer_;
};

}  // namespace

bool park_with_timer(Park& wait, TaskControl& me, TimePoint deadline) {
  const Alarm alarm(me, deadline);
  park(wait);
  return alarm.is_scheduled();
}

}  // namespace tulp::detail
