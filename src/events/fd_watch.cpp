#include <tulp/event_loop.hpp>
#include <tulp/loop_core.hpp>

namespace tulp {

void FdWatch::arm_hang_up(EventLoop& loop, Runnable& target) {
  awaits_hang_up_ = true;
  side(Direction::read).target = &target;
  if (!is_edge_triggered) update(loop);
}

void FdWatch::update(EventLoop& loop) noexcept { loop.update_fd(*this); }

inline void FdWatch::notify_side(EventLoop& loop, Direction d, bool is_exceptional) noexcept {
  Side& side = this->side(d);
  side.may_try = true;
  side.is_sticky |= is_exceptional;
  Runnable* target = side.target;
  if (target == nullptr || target->is_queued()) return;
  if (mode_ != Mode::level) disarm(loop, d);
  loop.post(*target);
}

void FdWatch::notify(EventLoop& loop, Readiness readiness) noexcept {
  if (readiness.readable || readiness.exceptional) notify_side(loop, Direction::read, readiness.exceptional);
  if (readiness.writable) notify_side(loop, Direction::write, readiness.exceptional);
}

}  // namespace tulp
