#include <tulp/event_loop.hpp>
#include <tulp/loop_core.hpp>

namespace tulp {

void FdWatch::arm(EventLoop& loop, Direction d, Runnable& target) {
  if (d == Direction::read) awaits_hang_up_ = false;
  side(d).target = &target;
  if (!is_edge_triggered) loop.update_fd(*this);
}

void FdWatch::arm_hang_up(EventLoop& loop, Runnable& target) {
  awaits_hang_up_ = true;
  side(Direction::read).target = &target;
  if (!is_edge_triggered) loop.update_fd(*this);
}

void FdWatch::disarm(EventLoop& loop, Direction d) noexcept {
  if (side(d).target == nullptr) return;
  side(d).target = nullptr;
  if (!is_edge_triggered) loop.update_fd(*this);
}

void FdWatch::notify(EventLoop& loop, Readiness readiness) noexcept {
  if (readiness.readable || readiness.exceptional) notify_side(loop, Direction::read, readiness.exceptional);
  if (readiness.writable) notify_side(loop, Direction::write, readiness.exceptional);
}

void FdWatch::notify_side(EventLoop& loop, Direction d, bool is_exceptional) noexcept {
  Side& side = this->side(d);
  side.may_try = true;
  side.is_sticky |= is_exceptional;
  Runnable* target = side.target;
  if (target == nullptr || target->is_queued()) return;
  if (mode_ != Mode::level) disarm(loop, d);
  loop.post(*target);
}

}  // namespace tulp
