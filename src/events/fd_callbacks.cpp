#include "events/fd_callbacks.hpp"

#include <array>
#include <cerrno>
#include <string>

#include <tulp/error.hpp>

#include "events/repeated_callback.hpp"

namespace tulp::detail {
namespace {

std::string name_of(Direction direction, int fd) {
  return (direction == Direction::read ? "reader of descriptor " : "writer of descriptor ") + std::to_string(fd);
}

}  // namespace

struct FdCallbacks::Entry {
  explicit Entry(int fd) : watch(fd, FdWatch::Mode::level) {}
  struct Side {
    RepeatedCallback* callback = nullptr;
    FdWaiter* waiter = nullptr;
    bool is_used() const { return callback != nullptr || waiter != nullptr; }
  };
  Side& side(Direction d) { return sides[static_cast<std::size_t>(d)]; }

  FdWatch watch;
  std::array<Side, 2> sides{};
};

FdCallbacks::FdCallbacks(EventLoop& loop) : loop_(loop) {}

FdCallbacks::~FdCallbacks() {
  while (!entries_.empty()) {
    const int fd = entries_.begin()->first;
    for (const Direction direction : {Direction::read, Direction::write}) {
      remove(fd, direction);
      remove_waiter(fd, direction);
    }
  }
}

/// Throws before anything has changed.
FdCallbacks::Entry& FdCallbacks::watch(int fd, Direction direction, Runnable& target) {
  auto found = entries_.find(fd);
  if (found == entries_.end()) {
    auto entry = std::make_unique<Entry>(fd);
    entry->watch.arm_before_adding(direction, target);
    loop_.add_fd(entry->watch);
    found = entries_.emplace(fd, std::move(entry)).first;
  } else {
    found->second->watch.arm(loop_, direction, target);
  }
  return *found->second;
}

/// After that side's callback and waiter have gone.
void FdCallbacks::unwatch(int fd, Direction direction) noexcept {
  const auto found = entries_.find(fd);
  Entry& entry = *found->second;
  if (entry.sides[0].is_used() || entry.sides[1].is_used()) return entry.watch.disarm(loop_, direction);
  loop_.remove_fd(entry.watch);
  entries_.erase(found);
}

void FdCallbacks::add(int fd, Direction direction, const void* created_at, UniqueFunction<void()> function) {
  const auto found = entries_.find(fd);
  if (found != entries_.end() && found->second->side(direction).waiter != nullptr)
    throw InvalidStateError("a task waits as the " + name_of(direction, fd));
  auto callback = Ref<RepeatedCallback>::adopt(
      new RepeatedCallback(loop_, {.what = name_of(direction, fd), .created_at = created_at}, std::move(function)));
  Entry& entry = watch(fd, direction, *callback);
  RepeatedCallback* former = std::exchange(entry.side(direction).callback, callback.release());
  if (former != nullptr) former->remove();
}

bool FdCallbacks::remove(int fd, Direction direction) {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return false;
  RepeatedCallback* callback = std::exchange(found->second->side(direction).callback, nullptr);
  if (callback == nullptr) return false;
  unwatch(fd, direction);
  callback->remove();
  return true;
}

void FdCallbacks::add_waiter(int fd, Direction direction, FdWaiter& waiter) {
  const auto found = entries_.find(fd);
  if (found != entries_.end() && found->second->side(direction).is_used())
    throw InvalidStateError("there is a " + name_of(direction, fd) + " already");
  watch(fd, direction, waiter.target).side(direction).waiter = &waiter;
}

void FdCallbacks::remove_waiter(int fd, Direction direction) noexcept {
  const auto found = entries_.find(fd);
  if (found == entries_.end() || std::exchange(found->second->side(direction).waiter, nullptr) == nullptr) return;
  unwatch(fd, direction);
}

void FdCallbacks::forget(int fd) {
  for (const Direction direction : {Direction::read, Direction::write}) {
    const auto found = entries_.find(fd);
    if (found == entries_.end()) return;
    const Entry::Side side = found->second->side(direction);
    if (side.callback != nullptr) {
      Origin origin = side.callback->origin();
      remove(fd, direction);
      loop_.call_exception_handler({.message = "the descriptor was closed while it was watched",
                                    .exception = make_os_error(ECANCELED, origin.what),
                                    .object = origin.what,
                                    .created_at = origin.created_at});
    }
    if (side.waiter != nullptr) {
      side.waiter->was_closed = true;
      remove_waiter(fd, direction);
      if (!side.waiter->target.is_queued()) loop_.post(side.waiter->target);
    }
  }
}

}  // namespace tulp::detail
