#include <tulp/task.hpp>

namespace tulp {
namespace detail {
namespace {

class TimerPark final : public Park {
 public:
  TimerPark(TaskControl& me, TimePoint when) noexcept : loop_(me.loop()), timer_(me) { timer_.set_when(when); }
  void start() { loop_.start_timer(timer_); }
  void undo() noexcept override { loop_.stop_timer(timer_); }

 private:
  EventLoop& loop_;
  Timer timer_;
};

/// The task is queued already: there is nothing to undo.
class YieldPark final : public Park {
 public:
  void undo() noexcept override {}
};

}  // namespace

void yield_now() {
  TaskControl& me = require_task("sleep");
  throw_if_cancelled();
  YieldPark wait;
  me.loop().post(me);
  park(wait);
  throw_if_cancelled();  // nothing was obtained that could be lost
}

void begin_operation(TaskControl& me) {
  constexpr std::uint16_t operations_per_turn = 64;
  if (++me.operation_count_ > operations_per_turn) yield_now();
}

}  // namespace detail

void sleep(Duration delay) {
  if (delay <= Duration::zero()) return detail::yield_now();
  detail::TaskControl& me = detail::require_task("sleep");
  detail::throw_if_cancelled();
  detail::TimerPark wait(me, after(me.loop().time(), delay));
  wait.start();
  detail::park(wait);
}

}  // namespace tulp
