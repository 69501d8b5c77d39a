#include "process/child_watcher.hpp"

#include <csignal>
#include <memory>
#include <vector>

namespace tulp::detail {

ChildWatcher::Sigchld::Sigchld(EventLoop& loop, ChildWatcher& watcher)
    : loop_(loop), watcher_(watcher), target_(SignalTarget::acquire()), watch_(target_.fd(), FdWatch::Mode::level) {
  watch_.arm_before_adding(Direction::read, *this);
  try {
    target_.watch(SIGCHLD);
    loop_.add_fd(watch_);
  } catch (...) {
    target_.release();
    throw;
  }
}

ChildWatcher::Sigchld::~Sigchld() {
  loop_.remove_fd(watch_);
  target_.release();
}

void ChildWatcher::Sigchld::run() noexcept {
  SignalTarget::Arrivals arrivals;
  target_.take(arrivals);
  watcher_.look();
}

ChildWatcher::~ChildWatcher() {
  for_all([](Child& child) { child.disown(); });
}

/// The child may have ended before its signal was watched.
void ChildWatcher::add(Child& child) {
  if (!child.has_pidfd()) {
    if (!sigchld_) sigchld_.emplace(loop_, *this);
    if (!look_.is_queued()) loop_.post(look_);
  }
  children_.push_back(child);
}

/// A copy, because one that ends calls its protocol, which may do anything.
template <class Do>
void ChildWatcher::for_all(Do call) {
  std::vector<std::shared_ptr<Child>> all;
  children_.for_each([&](Child& child) { all.push_back(child.shared_from_this()); });
  for (const auto& child : all) call(*child);
}

void ChildWatcher::look() {
  for_all([](Child& child) {
    if (!child.has_pidfd()) child.look();
  });
}

void ChildWatcher::shut_down(Shutdown phase) {
  if (phase == Shutdown::refuse) return;
  for_all([](Child& child) { child.kill(); });
}

}  // namespace tulp::detail
