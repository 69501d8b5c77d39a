#include <tulp/event_loop.hpp>
#include <tulp/loop_core.hpp>

namespace tulp {

void FdWatch::arm_hang_up(EventLoop& loop, Runnable& target) {
  awaits_hang_up_ = true;
  targets_[index(Direction::read)] = &target;
  if (!is_edge_triggered) update(loop);
}

void FdWatch::update(EventLoop& loop) noexcept { loop.update_fd(*this); }

inline void FdWatch::notify_side(EventLoop& loop, Direction d, bool is_exceptional) noexcept {
  may_try_[index(d)] = true;
  is_sticky_[index(d)] |= is_exceptional;
  Runnable* const target = targets_[index(d)];
  if (target == nullptr || target->is_queued()) return;
  if (mode_ != Mode::level) disarm(loop, d);
  loop.post(*target);
}

[[gnu::hot]] void FdWatch::notify(EventLoop& loop, Readiness readiness) noexcept {
  if (readiness.readable || readiness.exceptional) notify_side(loop, Direction::read, readiness.exceptional);
  if (readiness.writable) notify_side(loop, Direction::write, readiness.exceptional);
}

}  // namespace tulp
