#include <tulp/task.hpp>

#include "tasks/dump.hpp"
#include "tasks/running.hpp"

namespace tulp {
namespace detail {
namespace {

/// Its timer does not queue the task but this, which queues the task in its turn: a sleeper goes on behind the timers that
/// are due with its own, and a cancellation by one of them still reaches it.
class TimerPark final : public Park, private Runnable {
 public:
  TimerPark(TaskControl& me, TimePoint when) noexcept : me_(me), timer_(*this) { timer_.set_when(when); }
  void start() { me_.loop().start_timer(timer_); }
  void undo() noexcept override {
    is_undone_ = true;
    me_.loop().stop_timer(timer_);
  }
  std::string description() const override {
    return "its timer, " + short_duration(timer_.when() - me_.loop().time()) + " left";
  }

 private:
  /// Lives long enough: who undoes the park queues the task behind this.
  void run() noexcept override {
    if (!is_undone_) me_.loop().post(me_);
  }

  TaskControl& me_;
  Timer timer_;
  bool is_undone_ = false;
};

/// The task is queued already: there is nothing to undo.
class YieldPark final : public Park {
 public:
  void undo() noexcept override {}
};

}  // namespace

void yield_now() {
  TaskControl& me = parkable_task("sleep");
  YieldPark wait;
  me.loop().post(me);
  park(wait);
  throw_if_cancelled();  // nothing was obtained that could be lost
}

}  // namespace detail

void sleep(Duration delay) {
  if (delay <= Duration::zero()) return detail::yield_now();
  detail::TaskControl& me = detail::require_task("sleep");
  detail::TimerPark wait(me, after(me.loop().time(), delay));
  wait.start();
  detail::park(wait);
}

}  // namespace tulp
