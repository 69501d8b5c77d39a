// Semaphore, BoundedSemaphore: so many tasks at a time.  Floor 6, sync.
#pragma once
#include <tulp/detail/wait_queue.hpp>

#include <cstddef>
#include <limits>

namespace tulp {

/// Keeps a piece of work to `value` tasks at a time:
///
///   tulp::Semaphore connections(10);
///   ...
///   const std::lock_guard guard(connections);
///
/// release() hands the place to the task that has waited longest, so nobody can overtake.  It belongs to one thread, and
/// has to outlive those who wait for it.
/// Source: asyncio.Semaphore.
class Semaphore {
 public:
  /// Throws: std::invalid_argument - `value` is negative.
  explicit Semaphore(std::ptrdiff_t value = 1) : Semaphore(value, std::numeric_limits<std::ptrdiff_t>::max()) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Always true, as in asyncio.
  /// Parks: while it is locked.  Cancel: it is not acquired; a cancellation that comes once the place was handed over
  /// waits for the next park, so that what acquire() was called for can release it.
  /// Throws: InvalidStateError - outside a task.
  bool acquire();
  /// One place more, whoever had it.  Works outside a task, too.
  /// Throws: std::invalid_argument - of a BoundedSemaphore: more places than at first; the count does not fit.
  void release();
  /// Whether acquire() would park.
  bool locked() const noexcept { return value_ == 0; }

  // What std::lock_guard, std::unique_lock and std::scoped_lock ask for.

  /// acquire().
  void lock() { acquire(); }
  /// False if it is locked.  Works outside a task, too.
  bool try_lock() noexcept;
  /// release().
  void unlock() { release(); }

 protected:
  Semaphore(std::ptrdiff_t value, std::ptrdiff_t bound);

 private:
  std::ptrdiff_t value_;
  std::ptrdiff_t bound_;
  detail::WaitQueue waiting_;  // empty while there are places
};

/// A Semaphore that notices when it is released more often than acquired.
/// Source: asyncio.BoundedSemaphore.
class BoundedSemaphore : public Semaphore {
 public:
  /// Throws: std::invalid_argument - `value` is negative.
  explicit BoundedSemaphore(std::ptrdiff_t value = 1) : Semaphore(value, value) {}
};

}  // namespace tulp
