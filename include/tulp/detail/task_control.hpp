// TaskControl: a task without its types, and how a task waits.  Floor 5, tasks.
#pragma once
#include <tulp/detail/context.hpp>
#include <tulp/detail/future_state.hpp>
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/loop_core.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tulp {

class Fiber;
struct FiberLabel;
class FiberPool;

/// What the calls of C libraries that block (read, connect, poll, sleep and their kin) do in a task: hold up the thread,
/// and with it the loop, or park the task.  Needs the library tulp-blocking; see <tulp/posix.hpp>.
enum class BlockingCalls : std::uint8_t { block, park };
/// As TaskOptions::blocking_calls: `create_task({.blocking_calls = tulp::park}, f)`.
inline constexpr BlockingCalls park = BlockingCalls::park;

struct TaskOptions {
  /// What reports call it; "Task-N" if empty.
  std::string name = {};
  /// How much stack it gets, rounded up to pages; 0 is TULP_STACK_SIZE, else 256 KiB.
  std::size_t stack_size_bytes = 0;
  /// Runs the first step at once, inside create_task(), as far as the first park; a task that does not park has ended when
  /// that returns.  Where the loop does not run, or a transport is calling its protocol, the step is queued as ever.
  /// Source: asyncio.eager_task_factory.
  bool eager = false;
  /// What blocking calls of libraries do in this task.
  BlockingCalls blocking_calls = BlockingCalls::block;
};

namespace detail {

/// What a parked task waits for.  Lives on the task's own stack while it is parked.
class Park {
 public:
  /// `looked_at` is what the task touches as soon as it goes on, so that it may be brought into the cache before.
  explicit Park(const void* looked_at = nullptr) noexcept : looked_at_(looked_at) {}
  Park(const Park&) = delete;
  Park& operator=(const Park&) = delete;
  const void* looked_at() const noexcept { return looked_at_; }

  /// Unlinks the task from whatever would wake it.  Called when the task is cancelled while nothing has woken it yet.
  virtual void undo() noexcept = 0;
  /// False if what is waited for must have ended before the task goes on: then a cancellation comes at the next park.
  virtual bool can_be_left() noexcept { return true; }
  /// Passes a cancellation on to what is waited for, and stays parked until that has ended: true.  If that is a task, it
  /// is put into `next`, and the caller cancels it.
  virtual bool pass_on(const CancelReason& reason, TaskControl*& next) noexcept;
  /// The task that is waited for, or null.
  virtual TaskControl* awaited_task() const noexcept { return nullptr; }
  /// For reports: "data from 127.0.0.1:80".
  virtual std::string description() const { return "something"; }
  /// The number of the task that has what is waited for, or 0: who holds a lock.
  virtual std::uint64_t holder() const noexcept { return 0; }

 protected:
  ~Park() = default;

 private:
  const void* looked_at_;
};

/// Waits for the end of a future, and passes a cancellation on to it, unless somebody else waits for it too.
class FuturePark : public Park, public Waiter {
 public:
  FuturePark(TaskControl& me, FutureState& future) noexcept;
  FutureState& future() const noexcept { return future_; }
  /// The cancellation that has come of the future was that of this wait.
  bool was_cancelled() const noexcept { return is_passed_on_ && future_.status() == FutureState::Status::cancelled; }

  void undo() noexcept override { unlink(); }
  bool pass_on(const CancelReason& reason, TaskControl*& next) noexcept override;
  TaskControl* awaited_task() const noexcept override { return future_.task(); }
  std::string description() const override;

 private:
  FutureState& future_;
  bool is_passed_on_ = false;
};

/// What runs as a task: how it is cancelled, and what it waits for.  It has a fiber, or is a coroutine.  As a Runnable it
/// is the task's next step; the loop owns it from its creation to its end.
class TaskControl : public Runnable, public ListHook<TaskControl> {
 public:
  static constexpr const char* kind_of_task = "task";
  /// On a fiber.  `state` need not be constructed yet.
  TaskControl(EventLoop& loop, FutureState& state, const TaskOptions& options);

  FutureState& state() const noexcept { return state_; }
  EventLoop& loop() const noexcept { return loop_; }
  std::string name() const;
  void set_name(std::string name);
  /// Counted from 1 in each loop.
  std::uint64_t number() const noexcept { return number_; }
  TimePoint created() const noexcept { return created_; }
  /// What the task waits for while it is parked, and nothing has woken it; else null.
  const Park* park() const noexcept { return is_queued() ? nullptr : park_; }
  virtual bool has_begun() const noexcept { return fiber_ != nullptr; }
  /// The stack of the task, innermost first, from where it is parked, or runs and calls this; empty before the first step,
  /// and where too little of the stack is left to look from.
  virtual CallStack call_stack() const;
  unsigned cancelling() const noexcept { return cancel_request_count_; }
  unsigned uncancel() noexcept;
  void forget_pending_cancel() noexcept { is_cancel_pending_ = false; }
  /// A cancellation that was seen, and that a result or an error won over, comes again at the next park.
  void cancel_at_next_park() noexcept { is_cancel_pending_ = is_cancel_late_ = true; }
  /// Of the last request.
  CancelReason cancel_reason() const { return cancel_reason_ ? *cancel_reason_ : CancelReason(); }
  /// False if the task has ended.
  bool request_cancel(CancelReason reason);
  std::size_t stack_high_water_bytes() const noexcept;
  std::size_t stack_size_bytes() const noexcept { return stack_size_bytes_; }
  TaskControl* awaited_task() const noexcept;

  FiberLabel label(std::span<char> buffer) const noexcept;

  void shield() noexcept { ++shield_depth_; }
  void unshield() noexcept { --shield_depth_; }
  void forbid_parks() noexcept { ++no_park_depth_; }
  void allow_parks() noexcept { --no_park_depth_; }
  bool is_park_allowed() const noexcept { return no_park_depth_ == 0; }
  BlockingCalls blocking_calls() const noexcept { return blocking_calls_; }
  void set_blocking_calls(BlockingCalls what) noexcept { blocking_calls_ = what; }
  /// Whether the task runs and has called this, and not a signal handler on a stack of its own.
  bool is_on_its_stack() const noexcept;
  /// on_watched_park() is called before each park.
  void watch_parks(bool is_on) noexcept { is_park_watched_ = is_on; }

  void run() noexcept override;
  void discard() noexcept final;
  Origin origin() const final { return {.what = state_.description(), .created_at = state_.created_at()}; }

 protected:
  /// Without a fiber: nothing in it may park.
  TaskControl(EventLoop& loop, FutureState& state);
  ~TaskControl();
  virtual void call() = 0;
  virtual void destroy_callable() = 0;
  virtual void end_with_value() noexcept = 0;
  virtual void end_cancelled(CancelReason reason) noexcept = 0;

 private:
  friend class Scheduler;
  friend class StepScope;
  friend class CoroutineControl;
  friend void start(TaskControl& task);
  friend void start_eagerly(TaskControl& task);
  friend void adopt_by_loop(TaskControl& task);
  friend void throw_if_cancelled();
  friend void throw_if_cancelled(TaskControl& me);
  friend void wait_until_done(FutureState& future);
  friend void park(Park& park);
  friend void begin_operation(TaskControl& me);
  friend TaskControl& require_task(const char* function);
  friend Ref<Context>* context_of_running_task() noexcept;
  class SwallowGuard;

  void interrupt() noexcept;
  TaskControl* end_park(const CancelReason& reason) noexcept;
  TaskControl* cancel_this_or_next(const CancelReason& reason) noexcept;
  void cancel_chain(TaskControl* task, const CancelReason& reason) noexcept;
  void serve_pending_cancel() noexcept;
  bool is_interruptible() const noexcept;
  [[noreturn]] void throw_cancelled();
  struct Failure {
    std::exception_ptr error;
    std::shared_ptr<const ThrowTrace> trace;
  };
  [[gnu::noinline]] void execute() noexcept;
  // The ends.
  void conclude() noexcept;
  void conclude(CancelReason reason) noexcept;
  void conclude(Failure failure) noexcept;
  void leave_body() noexcept;
  void leave_loop() noexcept;

  // What each park touches comes first.
  Fiber* fiber_ = nullptr;       // from the first step to the end; the one that a coroutine's step runs on, if any does
  const void* frame_ = nullptr;  // where its stack stood at the last park
  const void* looked_at_ = nullptr;  // what it touches when it goes on
  Park* park_ = nullptr;             // while parked
  EventLoop& loop_;
  std::uint16_t no_park_depth_ = 0;
  std::uint16_t operation_count_ = 0;  // I/O operations since the last park
  std::uint16_t shield_depth_ = 0;
  bool is_cancel_pending_ = false;  // to be thrown at the next park
  bool is_cancel_late_ = false;     // the pending request came when the task had been woken with a result
  bool is_interrupted_ = false;     // this park was undone
  bool is_unwinding_ = false;       // parked while an exception unwinds the stack
  bool is_park_watched_ = false;    // it holds a mutex, and that is to be reported
  bool has_left_body_ = false;
  BlockingCalls blocking_calls_ = BlockingCalls::block;
  std::uint32_t cancel_request_count_ = 0;
  FutureState& state_;
  FiberPool* pool_;  // of the loop; gone with it.  Null: a coroutine
  std::size_t stack_size_bytes_;
  TimePoint created_;  // by the loop's coarse time
  std::uint64_t number_;
  std::unique_ptr<std::string> name_;            // null: "Task-N"
  std::unique_ptr<CancelReason> cancel_reason_;  // null if empty
  Ref<Context> context_ = capture_context();
};

/// Promises the task a fiber, gives it to its loop and queues its first step.
/// Throws: OsError - no memory for a stack; nothing has happened then.
void start(TaskControl& task);
/// The same, and runs its first step here and now, as far as its first park.  Where no loop runs, or none of it may be
/// interrupted, the step is queued.
void start_eagerly(TaskControl& task);

/// The task that runs on this thread, or null outside a fiber and in callbacks.
TaskControl* running_task() noexcept;
/// Where its context is; null outside a task.
Ref<Context>* context_of_running_task() noexcept;
/// The same, for functions that do something with the task and do not park.  Throws: InvalidStateError - outside a task.
TaskControl& require_running_task(const char* function);
/// The same, for functions that may park.  Throws: InvalidStateError - outside a task, in a coroutine, or inside a
/// no_park_scope.
TaskControl& require_task(const char* function);

// The only functions that leave a fiber.

/// Leaves the current task's fiber until the task is queued and its turn comes.  The caller has linked the task to what
/// wakes it.  A cancellation that is pending, and may be delivered, is served as if it were asked for now.
/// Throws: CancelledError - the task was cancelled; park.undo() has been called.
void park(Park& park);
/// Called before a park of a task whose parks are watched.
extern void (*on_watched_park)(const TaskControl& task) noexcept;
/// For a wait that has nothing to pass a cancellation on to: to be called before it is linked, spares the way through the
/// queue.  Throws: CancelledError - a cancellation is pending and may be delivered.
void throw_if_cancelled();
/// The same of `me`, in which this is.
inline void throw_if_cancelled(TaskControl& me) {
  if (me.is_cancel_pending_) [[unlikely]]
    throw_if_cancelled();
}
/// Lets everything run that is ready, once.  Throws: InvalidStateError - outside a task; CancelledError.
void yield_now();
/// Before an I/O operation that may succeed at once: lets others run after so many of them without a park.
inline void begin_operation(TaskControl& me) {
  constexpr std::uint16_t operations_per_turn = 64;
  if (++me.operation_count_ > operations_per_turn) [[unlikely]]
    yield_now();
}
/// Throws: InvalidStateError - outside a task, another loop's future, the task's own, or one that waits for this task.
void check_awaitable(const FutureState& future, const char* function);
/// The same for the task `me`, in which this is.
void check_awaitable(const TaskControl& me, const FutureState& future, const char* function);
/// Parks until `future` is done, whatever its end; returns at once if it is.
/// Throws: InvalidStateError - outside a task, another loop's future, or the task's own; CancelledError.
void wait_until_done(FutureState& future);

/// While it lives, callbacks of the user run on whatever stack this is, and may not park.
class CallbackScope {
 public:
  CallbackScope() noexcept;
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;
  ~CallbackScope();

 private:
  TaskControl* interrupted_;
};

/// A step of `task`, a coroutine, on whatever stack this is.
class StepScope {
 public:
  explicit StepScope(TaskControl& task) noexcept;
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;
  ~StepScope();

 private:
  TaskControl& task_;
  TaskControl* interrupted_;
};

}  // namespace detail
}  // namespace tulp
