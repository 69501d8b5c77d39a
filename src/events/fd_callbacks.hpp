// FdCallbacks: the descriptors that the user watches, by callbacks or by tasks that wait.  Floor 3, events.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>
#include <unordered_map>

namespace tulp::detail {

/// A task that waits until a descriptor of the user's is ready.
struct FdWaiter {
  Runnable& target;
  bool was_closed = false;
};

/// Each direction of a descriptor has a callback, or a waiter, or nobody.
class FdCallbacks : public LoopService {
 public:
  explicit FdCallbacks(EventLoop& loop);
  ~FdCallbacks() override;

  /// Throws: InvalidStateError - a task waits; OsError - the descriptor cannot be watched.
  void add(int fd, Direction direction, const void* created_at, UniqueFunction<void()> function);
  bool remove(int fd, Direction direction);
  /// Queues `waiter` when the direction is ready, again and again until it is removed.
  /// Throws: InvalidStateError - somebody watches already; OsError - the descriptor cannot be watched.
  void add_waiter(int fd, Direction direction, FdWaiter& waiter);
  void remove_waiter(int fd, Direction direction) noexcept;
  /// The descriptor is about to be closed: wakes waiters, and removes callbacks, which is reported.
  void forget(int fd);

 private:
  struct Entry;
  Entry& watch(int fd, Direction direction, Runnable& target);
  void unwatch(int fd, Direction direction) noexcept;

  EventLoop& loop_;
  std::unordered_map<int, std::unique_ptr<Entry>> entries_;
};

}  // namespace tulp::detail
