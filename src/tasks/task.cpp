#include <tulp/no_park_scope.hpp>
#include <tulp/task.hpp>

#include <cxxabi.h>

#include <array>
#include <cstdio>
#include <exception>

#include <tulp/error.hpp>

#include "base/call_stack.hpp"
#include "base/code_address.hpp"
#include "fiber/fiber_pool.hpp"
#include "tasks/running.hpp"
#include "tasks/scheduler.hpp"

namespace tulp {
namespace detail {

namespace {

std::size_t stack_size_of(const TaskOptions& options) {
  return options.stack_size_bytes != 0 ? round_stack_size(options.stack_size_bytes) : default_stack_size_bytes();
}

}  // namespace

TaskControl::TaskControl(EventLoop& loop, FutureState& state, const TaskOptions& options)
    : Runnable(Kind::task_step),
      loop_(loop),
      blocking_calls_(options.blocking_calls),
      state_(state),
      pool_(&Scheduler::pool_for(loop, stack_size_of(options))),
      stack_size_bytes_(pool_->stack_size_bytes()),
      created_(loop.recent_time()),
      number_(loop.next_task_number()) {
  if (!options.name.empty()) set_name(options.name);
  if (blocking_calls_ == BlockingCalls::park) prepare_blocking_calls();
}

TaskControl::TaskControl(EventLoop& loop, FutureState& state)
    : Runnable(Kind::callback),
      loop_(loop),
      no_park_depth_(1),
      state_(state),
      pool_(nullptr),
      stack_size_bytes_(0),
      created_(loop.recent_time()),
      number_(loop.next_task_number()) {}

TaskControl::~TaskControl() = default;

void adopt_by_loop(TaskControl& task) {
  if (task.pool_ != nullptr) task.pool_->reserve();
  task.state_.add_ref();  // the loop's, until the task ends
  task.loop().tasks().push_back(task);
}

void start(TaskControl& task) {
  adopt_by_loop(task);
  task.loop().post(task);
}

void start_eagerly(TaskControl& task) {
  adopt_by_loop(task);
  if (!Scheduler::begin_here(task)) task.loop().post(task);
}

Ref<Context>* context_of_running_task() noexcept {
  TaskControl* const task = running_task();
  return task != nullptr ? &task->context_ : nullptr;
}

std::string TaskControl::name() const { return name_ ? *name_ : "Task-" + std::to_string(number_); }

void TaskControl::set_name(std::string name) { name_ = std::make_unique<std::string>(std::move(name)); }

FiberLabel TaskControl::label(std::span<char> buffer) const noexcept {
  if (name_) return {*name_, state_.created_at()};
  constexpr std::string_view prefix = "Task-";
  char* at = buffer.data() + buffer.size();
  auto number = number_;
  do *--at = static_cast<char>('0' + number % 10);
  while ((number /= 10) != 0);
  at -= prefix.size();
  prefix.copy(at, prefix.size());
  return {{at, static_cast<std::size_t>(buffer.data() + buffer.size() - at)}, state_.created_at()};
}

std::size_t TaskControl::stack_high_water_bytes() const noexcept {
  return fiber_ != nullptr && pool_ != nullptr ? fiber_->stack().high_water_bytes() : 0;
}

bool TaskControl::is_on_its_stack() const noexcept {
  return this == running_task() && fiber_->stack().contains(__builtin_frame_address(0));
}

CallStack TaskControl::call_stack() const {
  std::array<const void*, most_frames> frames;
  std::size_t count = 0;
  if (this == running_task())
    count = capture_call_stack(frames);
  else if (fiber_ != nullptr)
    count = fiber_->capture(frames);
  return CallStack(frames.begin(), frames.begin() + static_cast<std::ptrdiff_t>(count));
}

// The life of a task.

/// On the task's own fiber.
void TaskControl::execute() noexcept {
  if (is_cancel_pending_) return conclude(cancel_reason());
  try {
    call();
  } catch (const CancelledError& cancelled) {
    has_left_body_ = true;
    return conclude(CancelReason(cancelled.message(), cancelled.asked_at()));
  } catch (const abi::__forced_unwind&) {
    std::terminate();  // pthread_exit() on a fiber: it would unwind into nowhere
  } catch (const ThrowWatch&) {
    return conclude(CancelReason());
  } catch (...) {
    std::exception_ptr error = std::current_exception();
    auto trace = take_throw_trace(error, __builtin_return_address(0));
    return conclude(Failure{std::move(error), std::move(trace)});
  }
  conclude();
}

/// A request that nobody has seen ends the task as cancelled, unless it came too late to stop what gave the result.
void TaskControl::conclude() noexcept {
  leave_body();
  const bool is_cancelled = is_cancel_pending_ && !is_cancel_late_;
  leave_loop();
  is_cancelled ? end_cancelled(cancel_reason()) : end_with_value();
}

void TaskControl::conclude(CancelReason reason) noexcept {
  leave_body();
  leave_loop();
  end_cancelled(std::move(reason));
}

void TaskControl::conclude(Failure failure) noexcept {
  leave_body();
  leave_loop();
  state_.fail(std::move(failure.error), std::move(failure.trace));
}

/// Everything that the body held is gone before anybody hears of the end.
void TaskControl::leave_body() noexcept {
  shield();
  destroy_callable();
}

void TaskControl::leave_loop() noexcept {
  TULP_ASSERT(!is_queued());
  fiber_ = nullptr;
  unlink();
}

void TaskControl::discard() noexcept {}  // a loop that closes deals with its tasks itself

// Cancellation.

unsigned TaskControl::uncancel() noexcept {
  if (cancel_request_count_ > 0 && --cancel_request_count_ == 0) forget_pending_cancel();
  return cancel_request_count_;
}

/// A chain of tasks that wait for each other is cancelled from its head to its end without recursion.  A chain that
/// comes back to its head is a cycle, which nothing else would end: it is cut there.
bool TaskControl::request_cancel(CancelReason reason) {
  if (state_.is_done()) return false;
  cancel_chain(cancel_this_or_next(reason), reason);
  return true;
}

void TaskControl::cancel_chain(TaskControl* task, const CancelReason& reason) noexcept {
  while (task != nullptr && task != this) task = task->cancel_this_or_next(reason);
  if (task == this) interrupt();
}

/// A request that came before the park is served as one that comes now: what is waited for hears of it too.
void TaskControl::serve_pending_cancel() noexcept {
  if (is_queued() || !is_interruptible() || !park_->can_be_left()) return;
  is_cancel_pending_ = false;
  const CancelReason reason = cancel_reason();
  cancel_chain(end_park(reason), reason);
}

/// Ends the wait, or passes that on to what is waited for, which is returned if it is a task.
TaskControl* TaskControl::end_park(const CancelReason& reason) noexcept {
  TaskControl* next = nullptr;
  if (!park_->pass_on(reason, next)) interrupt();
  return next;
}

void TaskControl::interrupt() noexcept {
  park_->undo();
  is_interrupted_ = true;
  loop().post(*this);
}

TaskControl* TaskControl::cancel_this_or_next(const CancelReason& reason) noexcept {
  if (state_.is_done()) return nullptr;
  ++cancel_request_count_;
  cancel_reason_ = CancelReason::keep(reason);
  if (is_interrupted_) return nullptr;  // the CancelledError that is on its way serves this request too
  const bool is_woken = park_ != nullptr && is_queued();
  const bool is_waiting = park_ != nullptr && !is_woken && is_interruptible();
  if (is_waiting && park_->can_be_left()) return end_park(reason);
  is_cancel_pending_ = true;
  is_cancel_late_ = is_woken || is_waiting;
  return nullptr;
}

bool TaskControl::is_interruptible() const noexcept { return shield_depth_ == 0 && !is_unwinding_; }

/// In debug mode a CancelledError carries one.  If that dies while its task runs on, nothing else is being thrown, and
/// nobody has taken the request back, then somebody has caught the error and kept it.
class TaskControl::SwallowGuard {
 public:
  explicit SwallowGuard(TaskControl& task) noexcept : task_(task), state_(Ref<FutureState>::share(&task.state_)) {}
  SwallowGuard(const SwallowGuard&) = delete;
  SwallowGuard& operator=(const SwallowGuard&) = delete;
  ~SwallowGuard() {
    if (running_task() != &task_ || task_.has_left_body_ || task_.cancelling() == 0 || task_.is_cancel_pending_ ||
        std::uncaught_exceptions() != 0)
      return;
    const CancelReason reason = task_.cancel_reason();
    const CallbackScope nothing_parks;
    task_.loop().call_exception_handler(
        {.message = "a cancellation was swallowed: CancelledError was caught, and not thrown again",
         .exception = std::make_exception_ptr(CancelledError(reason.message, reason.asked_at)),
         .object = state_->description(),
         .created_at = state_->created_at()});
  }

 private:
  TaskControl& task_;
  Ref<FutureState> state_;
};

void TaskControl::throw_cancelled() {
  is_cancel_pending_ = false;
  const CancelReason reason = cancel_reason();
  if (loop().debug())
    throw CancelledError(reason.message, reason.asked_at, std::make_shared<const SwallowGuard>(*this));
  throw CancelledError(reason.message, reason.asked_at);
}

void throw_if_cancelled() {
  TaskControl& me = *running_task();
  if (me.is_cancel_pending_ && me.shield_depth_ == 0 && !flow_thread.is_unwinding()) me.throw_cancelled();
}

TaskControl& require_running_task(const char* function) {
  TaskControl* task = running_task();
  if (task == nullptr)
    throw InvalidStateError(std::string(function) + " needs a task: this is a callback, or no loop runs");
  return *task;
}

TaskControl& require_task(const char* function) { return parkable_task(function); }

void refuse_to_park(const TaskControl* task, const char* function) {
  if (task == nullptr)
    throw InvalidStateError(std::string(function) +
                            "() may park and thus needs a task: it was called outside a fiber, in a "
                            "callback, or in a child process");
  if (task->stack_size_bytes() == 0)
    throw InvalidStateError(std::string(function) +
                            "() may park, and was called in a coroutine, which has no fiber: co_await in_fiber(...)");
  throw InvalidStateError(std::string(function) + "() may park, and was called inside a no_park_scope");
}

// Waiting for a future.

bool Park::pass_on(const CancelReason&, TaskControl*&) noexcept { return false; }

FuturePark::FuturePark(TaskControl& me, FutureState& future) noexcept : Waiter(me), future_(future) {}

bool FuturePark::pass_on(const CancelReason& reason, TaskControl*& next) noexcept {
  if (future_.is_awaited_by_others(this)) return false;
  is_passed_on_ = true;
  next = future_.task();
  if (next == nullptr) future_.cancel(reason);
  return true;
}

std::string FuturePark::description() const {
  const void* place = future_.created_at();
  if (future_.task() != nullptr || place == nullptr) return future_.description();
  return future_.description() + " created at " + describe_code_address(place);
}

TaskControl* TaskControl::awaited_task() const noexcept { return park_ != nullptr ? park_->awaited_task() : nullptr; }

namespace {

/// Looks a bounded way along the chain of tasks that wait for each other.
/// Throws: InvalidStateError - it leads back to `me`.
void check_for_cycle(const TaskControl& me, const FutureState& future, const char* function) {
  constexpr int furthest = 64;
  const TaskControl* at = future.task();
  for (int hops = 0; at != nullptr && hops < furthest; ++hops) {
    if (at == &me)
      throw InvalidStateError(std::string(function) + ": " + future.description() +
                              " waits, in the end, for this task");
    at = at->awaited_task();
  }
}

}  // namespace

void check_awaitable(const FutureState& future, const char* function) {
  check_awaitable(require_task(function), future, function);
}

void check_awaitable(const TaskControl& me, const FutureState& future, const char* function) {
  if (&future.loop() != &me.loop())
    throw InvalidStateError(std::string(function) + ": the future belongs to a different event loop");
  if (&future == &me.state()) throw InvalidStateError(std::string(function) + ": a task cannot wait for itself");
  check_for_cycle(me, future, function);
}

void wait_until_done(FutureState& future) {
  check_awaitable(future, "await");
  if (future.is_done()) return;
  TaskControl& me = *running_task();
  FuturePark wait(me, future);
  future.add_waiter(wait);
  park(wait);
  if (wait.was_cancelled()) me.throw_cancelled();
}

}  // namespace detail

TaskHandle current_task() {
  detail::TaskControl* task = detail::running_task();
  return task != nullptr ? TaskHandle(detail::Ref<detail::FutureState>::share(&task->state())) : TaskHandle();
}

std::vector<TaskHandle> all_tasks() {
  std::vector<TaskHandle> tasks;
  get_event_loop().tasks().for_each(
      [&](detail::TaskControl& task) { tasks.emplace_back(detail::Ref<detail::FutureState>::share(&task.state())); });
  return tasks;
}

no_park_scope::no_park_scope() noexcept : task_(detail::running_task()) {
  if (task_ != nullptr) task_->forbid_parks();
}
no_park_scope::~no_park_scope() {
  if (task_ != nullptr) task_->allow_parks();
}

CancelShield::CancelShield() : task_(detail::require_running_task("CancelShield")) { task_.shield(); }
CancelShield::~CancelShield() { task_.unshield(); }

}  // namespace tulp
