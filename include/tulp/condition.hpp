// Condition: tasks that share a lock tell each other that something has changed.  Floor 6, sync.
#pragma once
#include <tulp/lock.hpp>

#include <cstddef>
#include <type_traits>

namespace tulp {

/// A lock, and tasks that wait until whoever has it says that what it protects has changed:
///
///   const std::lock_guard guard(condition);
///   condition.wait_for([&] { return !jobs.empty(); });
///
/// It belongs to one thread, and has to outlive those who wait for it.
/// Source: asyncio.Condition.
class Condition {
 public:
  /// With a lock of its own.
  Condition() noexcept : lock_(own_lock_) {}
  /// Several conditions may share a lock, which has to outlive them.
  explicit Condition(Lock& lock) noexcept : lock_(lock) {}
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  // As those of its lock.

  bool acquire() { return lock_.acquire(); }
  void release() { lock_.release(); }
  bool locked() const noexcept { return lock_.locked(); }
  void lock() { lock_.lock(); }
  bool try_lock() noexcept { return lock_.try_lock(); }
  void unlock() { lock_.unlock(); }

  /// Releases the lock while it waits.  Always true, as in asyncio.
  /// Parks: until it is notified, and then until it has the lock again.
  /// Cancel: the lock is held again, too, which cannot be cut short.  A cancellation that comes behind the notification
  /// waits for the park after this, so that no notification is lost.
  /// Throws: InvalidStateError - the lock is not locked; outside a task.
  bool wait();
  /// Waits, again and again, until `predicate()` is true; what it returned.  It is called with the lock held, at first
  /// before any wait.
  /// Parks, and throws: as wait(), and what `predicate` throws.
  template <class Predicate>
  auto wait_for(Predicate predicate) -> std::decay_t<std::invoke_result_t<Predicate&>>;

  /// Wakes the `n` tasks that have waited longest, or as many as there are.  They go on when they get the lock, which
  /// whoever calls this still has.
  /// Throws: InvalidStateError - the lock is not locked.
  void notify(std::size_t n = 1);
  /// Wakes all who wait.  Throws: InvalidStateError - the lock is not locked.
  void notify_all();

 private:
  Lock own_lock_;
  Lock& lock_;
  detail::WaitQueue waiting_;
};

template <class Predicate>
auto Condition::wait_for(Predicate predicate) -> std::decay_t<std::invoke_result_t<Predicate&>> {
  detail::require_task("Condition::wait_for");
  for (;;) {
    if (auto result = predicate()) return result;
    wait();
  }
}

}  // namespace tulp
