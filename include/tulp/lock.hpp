// Lock: one task at a time.  Floor 6, sync.
#pragma once
#include <tulp/detail/wait_queue.hpp>

namespace tulp {

/// Keeps a piece of work to one task at a time, also across its parks:
///
///   const std::lock_guard guard(lock);
///
/// A lock has no owner: whoever runs on its loop's thread may release it, and a task that acquires it twice waits for
/// itself.  release() hands it to the task that has waited longest, so nobody can overtake.  It belongs to one thread,
/// and has to outlive those who wait for it.
/// Source: asyncio.Lock.
class Lock {
 public:
  Lock() = default;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  /// Always true, as in asyncio.
  /// Parks: while it is locked.  Cancel: it is not acquired; a cancellation that comes once the lock was handed over waits
  /// for the next park, so that what acquire() was called for can release it.
  /// Throws: InvalidStateError - outside a task.
  bool acquire();
  /// Throws: InvalidStateError - it is not locked.
  void release();
  bool locked() const noexcept { return is_locked_; }

  // What std::lock_guard, std::unique_lock and std::scoped_lock ask for.

  /// acquire().
  void lock() { acquire(); }
  /// False if it is locked.  Works outside a task, too.
  bool try_lock() noexcept;
  /// release().
  void unlock() { release(); }

 private:
  bool is_locked_ = false;
  std::uint64_t holder_ = 0;   // for reports: the number of the task that acquired it
  detail::WaitQueue waiting_;  // empty while it is not locked
};

}  // namespace tulp
