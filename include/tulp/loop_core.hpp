// What an event loop is asked for: things to run, times to wait for, descriptors to watch.  Floor 3, events.
//
// Whoever writes an EventLoop of his own needs this header and event_loop.hpp; whoever uses one does not.
#pragma once
#include <tulp/detail/assert.hpp>
#include <tulp/duration.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tulp {

class EventLoop;

/// What something is, for reports: "task 'crawl'", and the return address of the call that made it, or null.
struct Origin {
  std::string what = "callback";
  const void* created_at = nullptr;
};

/// Something that a loop runs once, in its turn.  Intrusive: queueing it allocates nothing and cannot fail.
class Runnable {
 public:
  enum class Kind : std::uint8_t { callback, task_step };

  explicit constexpr Runnable(Kind kind = Kind::callback) noexcept : kind_(kind) {}
  Runnable(const Runnable&) = delete;
  Runnable& operator=(const Runnable&) = delete;

  /// Called by the loop after it has taken the entry off its queue; may destroy the object.
  virtual void run() noexcept = 0;
  /// Called instead of run() by a loop that closes.
  virtual void discard() noexcept {}
  /// For reports.
  virtual Origin origin() const { return {}; }

  Kind kind() const noexcept { return kind_; }
  bool is_queued() const noexcept { return is_queued_; }
  /// While it is queued: what comes after it, or null.
  const Runnable* next() const noexcept { return next_; }

 protected:
  constexpr ~Runnable() = default;

 private:
  friend class RunQueue;
  friend class Inbox;
  Runnable* next_ = nullptr;
  Kind kind_;
  bool is_queued_ = false;
};

/// Runnables, first in, first out.  A loop runs them in batches: what is there when a batch begins belongs to it, and what
/// that adds comes after it.
class RunQueue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }

  /// `entry` is in no queue.
  void push(Runnable& entry) noexcept {
    TULP_ASSERT(!entry.is_queued_);
    entry.next_ = nullptr;
    entry.is_queued_ = true;
    *end_ = &entry;
    end_ = &entry.next_;
  }
  /// The oldest entry; the queue must not be empty.
  Runnable& pop() noexcept {
    Runnable& entry = *first_;
    first_ = entry.next_;
    if (&entry.next_ == batch_end_) batch_end_ = nullptr;
    if (first_ == nullptr) end_ = &first_;
    entry.is_queued_ = false;
    return entry;
  }

  /// The queue must not be empty.
  void begin_batch() noexcept { batch_end_ = end_; }
  /// Puts `more`, which is not empty, before all that is there, as what is left of the batch.  There is no batch now.
  void resume_batch(RunQueue& more) noexcept {
    *more.end_ = first_;
    batch_end_ = more.end_;
    if (first_ == nullptr) end_ = more.end_;
    first_ = more.first_;
    more.first_ = nullptr;
    more.end_ = &more.first_;
  }
  /// Leaves what is left of the batch to the next one.
  void end_batch() noexcept { batch_end_ = nullptr; }
  bool is_in_batch() const noexcept { return batch_end_ != nullptr; }
  /// The oldest entry if it is a task's step; else null.
  const Runnable* front_task_step() const noexcept {
    return first_ != nullptr && first_->kind_ == Runnable::Kind::task_step ? first_ : nullptr;
  }
  /// The oldest entry, if it belongs to the batch and is a task's step.
  Runnable* pop_task_step() noexcept {
    return is_in_batch() && first_->kind_ == Runnable::Kind::task_step ? &pop() : nullptr;
  }

  RunQueue() = default;
  RunQueue(const RunQueue&) = delete;
  RunQueue& operator=(const RunQueue&) = delete;

 private:
  friend class Inbox;
  /// Appends entries that are linked already, and marked as queued.
  void append(Runnable& first, Runnable& last) noexcept {
    *end_ = &first;
    end_ = &last.next_;
  }

  Runnable* first_ = nullptr;
  Runnable** end_ = &first_;
  Runnable** batch_end_ = nullptr;  // what end_ was when the batch began; null between batches
};

/// Runnables from other threads.  Any thread pushes; the loop's thread takes, in the order of each thread's pushes.
class Inbox {
 public:
  /// False if the inbox is closed.
  bool push(Runnable& entry) noexcept;
  bool empty() const noexcept { return newest_.load(std::memory_order_seq_cst) == nullptr; }
  /// Moves everything that is there to the end of `queue`; false if there is nothing.
  bool take(RunQueue& queue) noexcept;
  /// Takes what is there, and refuses everything that comes later.
  void close(RunQueue& queue) noexcept;

 private:
  static void move(Runnable* newest, RunQueue& queue) noexcept;
  std::atomic<Runnable*> newest_ = nullptr;  // linked towards older ones; &closed_ when closed
};

/// A time at which a loop queues `target`.  Lies in the loop's timer structure while is_scheduled(); whoever owns it must
/// stop it before it dies.
class Timer {
 public:
  explicit Timer(Runnable& target) noexcept : target_(&target) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  Runnable& target() const noexcept { return *target_; }
  TimePoint when() const noexcept { return when_; }
  bool is_scheduled() const noexcept { return position != unscheduled; }

  static constexpr std::size_t unscheduled = static_cast<std::size_t>(-1);
  /// For the loop's timer structure alone: where in it this timer lies.
  std::size_t position = unscheduled;

  /// For EventLoop::start_timer's callers: set before the timer is started.
  void set_when(TimePoint when) noexcept { when_ = when; }

 private:
  Runnable* target_;
  TimePoint when_{};
};

enum class Direction : std::uint8_t { read = 0, write = 1 };

/// What a loop has seen on a descriptor.
struct Readiness {
  bool readable = false;
  bool writable = false;
  /// Hang-up, error, the peer's half-close or urgent data.  Readable and writable are set as well where it ends both.
  bool exceptional = false;
};

/// A descriptor that a loop watches.
///
/// In mode `once` (descriptors that tulp owns) the watch is added when the descriptor is born and removed before it is
/// closed; arm() asks to queue a Runnable once when the direction is ready again.  A hint for each direction remembers
/// whether trying is worth a system call.  In mode `level` (descriptors of the user) the target is queued in each
/// iteration in which the direction is ready.  In mode `single` (those of the user, for one wait) it is queued once, as in
/// `once`, but the program may close the descriptor at any time: a loop that learns that the number is another file's by
/// now sets was_replaced.
class FdWatch {
 public:
  enum class Mode : std::uint8_t { once, level, single };

  FdWatch(int fd, Mode mode) noexcept : fd_(fd), mode_(mode) {}
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  int fd() const noexcept { return fd_; }
  Mode mode() const noexcept { return mode_; }

  // For the owner of the descriptor.

  /// Whether the direction may be ready; true at first.
  bool may_try(Direction d) const noexcept { return may_try_[index(d)]; }
  /// The system call said EAGAIN.
  void would_block(Direction d) noexcept { may_try_[index(d)] = is_sticky_[index(d)] = false; }
  /// The system call moved less than it was asked to, on a kind of descriptor where that means that it is drained.
  void fell_short(Direction d) noexcept {
    if (!is_sticky_[index(d)]) may_try_[index(d)] = false;
  }
  Runnable* target(Direction d) const noexcept { return targets_[index(d)]; }
  bool is_armed(Direction d) const noexcept {
    return targets_[index(d)] != nullptr && !(d == Direction::read && awaits_hang_up_);
  }
  /// For a watch that is to be added armed, so that it is the adding that fails if something does.
  void arm_before_adding(Direction d, Runnable& target) noexcept { targets_[index(d)] = &target; }
  /// Asks `loop` to queue `target` when `d` is ready.
  void arm(EventLoop& loop, Direction d, Runnable& target) {
    if (d == Direction::read) awaits_hang_up_ = false;
    targets_[index(d)] = &target;
    if (!is_edge_triggered) update(loop);
  }
  void disarm(EventLoop& loop, Direction d) noexcept {
    if (targets_[index(d)] == nullptr) return;
    targets_[index(d)] = nullptr;
    if (!is_edge_triggered) update(loop);
  }
  /// Instead of arming to read what has come to its end: asks `loop` to queue `target` when the connection breaks, or has
  /// ended in both directions.  It may be queued for less; where the system cannot tell, as with select(2), it never is.
  void arm_hang_up(EventLoop& loop, Runnable& target);

  // For the loop.

  /// Whether hang-up and error are waited for, and nothing else of reading.
  bool awaits_hang_up() const noexcept { return awaits_hang_up_ && targets_[index(Direction::read)] != nullptr; }

  /// Reports what the descriptor is ready for; queues what is armed.
  void notify(EventLoop& loop, Readiness readiness) noexcept;
  /// Set by a loop whose back end reports each edge by itself, so that arm() need not tell it.
  bool is_edge_triggered = false;
  /// Of mode `single`: whoever waited before waits for a file that has gone; the number is another one's, which is watched
  /// now, or has been taken over by a watch of mode `once`.
  bool was_replaced = false;
  /// Set before it is removed if nothing comes between that and the close(): a back end that learns of the close() by itself
  /// need not be told.
  bool is_closing = false;
  /// False for what only watches over the program, so that a loop which has nothing else to wait for is stuck.
  bool keeps_loop_going = true;

 private:
  static std::size_t index(Direction d) noexcept { return static_cast<std::size_t>(d); }
  void notify_side(EventLoop& loop, Direction d, bool is_exceptional) noexcept;
  void update(EventLoop& loop) noexcept;

  // Half a line of the cache, which each event touches.
  int fd_;
  Mode mode_;
  bool awaits_hang_up_ = false;  // the read side's target does
  bool may_try_[2] = {true, true};
  bool is_sticky_[2] = {false, false};  // keep trying until EAGAIN, whatever a short read suggests
  Runnable* targets_[2] = {nullptr, nullptr};
};

}  // namespace tulp
