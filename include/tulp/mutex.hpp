// mutex and its kin: std's, for tasks of any loop and for threads.  Floor 6, sync.
//
// For programs that are ported from threads; they work between tasks of one loop, tasks of loops in several threads, and
// threads without a loop, in any mixture, and can be made before main().  Where all is on one loop, Lock costs less.
// docs/decisions/0017-threads-as-tasks.md says what differs from std's.
#pragma once
#include <tulp/detail/flow_queue.hpp>
#include <tulp/duration.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace tulp {

/// As std::mutex, and fair: unlock() hands it to whoever has waited longest.  Without a waiter each call is one atomic
/// operation.  Of the task, or thread, that has it; has to outlive those who wait for it.
/// Thread: any.
class mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Parks: while it is locked; a thread without a loop blocks.  Cancel: not here, but at the next park, as in POSIX: so it
  /// may be called in destructors.
  /// Throws: InvalidStateError - it is locked, and this is a callback or a coroutine, or inside a no_park_scope.
  void lock() {
    std::uint8_t state = is_free;
    if (!state_.compare_exchange_strong(state, is_locked, std::memory_order_acquire, std::memory_order_relaxed))
      lock_or_leave(Duration::max());
  }
  bool try_lock() noexcept {
    std::uint8_t state = is_free;
    return state_.compare_exchange_strong(state, is_locked, std::memory_order_acquire, std::memory_order_relaxed);
  }
  /// Throws: InvalidStateError - it is not locked.
  void unlock() {
    std::uint8_t state = is_locked;
    if (!state_.compare_exchange_strong(state, is_free, std::memory_order_release, std::memory_order_relaxed))
      hand_over();
  }

 protected:
  /// False if it could not be had for so long.
  bool lock_or_leave(Duration limit);

 private:
  enum : std::uint8_t { is_free, is_locked, has_waiters };
  void hand_over();

  std::atomic<std::uint8_t> state_ = is_free;  // has_waiters: the line is not empty; entered and left with its guard
  detail::FlowQueue waiting_;
};

/// As std::timed_mutex.
class timed_mutex : public mutex {
 public:
  /// Parks, and throws: as lock().
  bool try_lock_for(Duration limit) { return try_lock() || (limit > Duration::zero() && lock_or_leave(limit)); }
  template <class Clock, class Span>
  bool try_lock_until(const std::chrono::time_point<Clock, Span>& when) {
    return try_lock_for(when - Clock::now());
  }
};

/// As std::recursive_mutex: who has it may lock it again, and has to unlock it as often.
class recursive_mutex {
 public:
  constexpr recursive_mutex() noexcept = default;
  recursive_mutex(const recursive_mutex&) = delete;
  recursive_mutex& operator=(const recursive_mutex&) = delete;

  /// Parks, and throws: as mutex::lock().
  void lock();
  bool try_lock() noexcept;
  /// Throws: InvalidStateError - somebody else has it, or nobody.
  void unlock();

 private:
  mutex mutex_;
  std::atomic<const void*> owner_ = nullptr;
  std::uint32_t depth_ = 0;  // of the owner
};

}  // namespace tulp
