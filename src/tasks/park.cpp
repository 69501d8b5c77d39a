// These are the only functions that leave a fiber.
//
// A task's step is a Runnable: whatever wakes the task queues it.  Its turn comes either on the loop's own stack, which
// switches to the fiber, or while another fiber leaves, which then switches straight across.  A fiber whose task has
// ended takes up the next task that has not begun, without any switch, or waits in its pool.
#include <tulp/detail/task_control.hpp>

#include <cstdlib>
#include <exception>
#include <utility>

#include <tulp/error.hpp>

#include "events/live_loops.hpp"
#include "fiber/fiber_pool.hpp"
#include "fiber/floating_point.hpp"
#include "tasks/running.hpp"
#include "tasks/scheduler.hpp"

namespace tulp::detail {

[[gnu::tls_model("initial-exec")]] constinit thread_local TaskControl* running = nullptr;

namespace {

/// The flow of the thread's own stack, where its loop runs.
[[gnu::tls_model("initial-exec")]] constinit thread_local Fiber loop_flow;

/// Whether the thread is on some fiber, whoever runs there, and not on its own stack.
[[gnu::tls_model("initial-exec")]] constinit thread_local bool is_on_fiber = false;

/// A first step that runs inside another flow, which goes on when the step leaves its fiber.
struct EagerStep {
  Fiber& creators_flow;
  TaskControl* creator;  // null: a callback on the loop's stack, where a coroutine may run as well
  EagerStep* outer;
};
[[gnu::tls_model("initial-exec")]] constinit thread_local EagerStep* eager_step = nullptr;

}  // namespace

const FiberProgram Scheduler::program = {.entry = entry, .label = label};

FiberPool& FiberPools::of_size(std::size_t stack_size_bytes) {
  for (const auto& pool : pools_)
    if (pool->stack_size_bytes() == stack_size_bytes) return *pool;
  return *pools_.emplace_back(std::make_unique<FiberPool>(stack_size_bytes, Scheduler::program));
}

/// Most tasks are created by one with a stack of the same size.
FiberPool& Scheduler::pool_for(EventLoop& loop, std::size_t stack_size_bytes) {
  const TaskControl* const creator = running;
  if (creator != nullptr && &creator->loop() == &loop && creator->stack_size_bytes() == stack_size_bytes)
    return *creator->pool_;
  return loop.service<FiberPools>().of_size(stack_size_bytes);
}

/// A task that has forked goes on in the child, where there is nothing that it could wait for.
void FiberPools::on_fork() noexcept {
  running = nullptr;
  eager_step = nullptr;
}

/// Makes `task` the running one, on a fiber that is its own from now on.
Fiber& Scheduler::enter(TaskControl& task) noexcept {
  running = &task;
  if (task.fiber_ == nullptr) {
    task.fiber_ = &task.pool_->take();
    task.fiber_->user = &task;
  }
  return *task.fiber_;
}

/// Lines of the cache, counted from the one that `memory` lies in.  Always inlined: to the compiler it has no effect.
[[gnu::always_inline]] inline void fetch(const void* memory, int first, int end) noexcept {
  for (int line = first; line < end; ++line) __builtin_prefetch(static_cast<const char*>(memory) + 64 * line);
}

/// While a task runs, what the one after it will need comes into the cache: with many connections that is where the time
/// goes.
[[gnu::always_inline]] inline void Scheduler::prefetch_next(const EventLoop& loop) noexcept {
  const Runnable* const next = loop.upcoming_task_step();
  if (next == nullptr) return;
  const auto& task = *static_cast<const TaskControl*>(next);
  fetch(task.next(), 0, 1);
  fetch(&task, 1, 2);
  if (task.frame_ == nullptr) return fetch(&task, 2, 5);  // it has not begun: its callable
  fetch(task.fiber_, 0, 1);
  fetch(task.frame_, -3, 5);  // from what the switch has put on the stack outwards
  if (task.looked_at_ != nullptr) fetch(task.looked_at_, 0, 2);
}

[[gnu::hot]] [[gnu::noinline]] void Scheduler::step(TaskControl& task) noexcept {
  FlowThread& here = FlowThread::here();
  is_on_fiber = true;
  loop_flow.switch_to(enter(task), here);
  is_on_fiber = false;
  running = nullptr;
}

bool Scheduler::begin_here(TaskControl& task) noexcept {
  Fiber* const fiber = running != nullptr ? running->fiber_ : nullptr;
  if (get_running_loop() != &task.loop() || (fiber == nullptr && is_on_fiber)) return false;
  EagerStep step{fiber != nullptr ? *fiber : loop_flow, running, eager_step};
  eager_step = &step;
  const bool was_on_fiber = std::exchange(is_on_fiber, true);
  FlowThread& here = FlowThread::here();
  step.creators_flow.switch_to(enter(task), here);
  is_on_fiber = was_on_fiber;
  return true;
}

[[gnu::always_inline]] inline void Scheduler::leave(Fiber& from, EventLoop& loop) noexcept {
  if (eager_step != nullptr) [[unlikely]] {
    const EagerStep& step = *std::exchange(eager_step, eager_step->outer);
    running = step.creator;
    return from.switch_to(step.creators_flow, flow_thread);
  }
  running = nullptr;
  loop.run_deferred();
  Runnable* next = loop.next_task_step();
  Fiber& to = next != nullptr ? enter(static_cast<TaskControl&>(*next)) : loop_flow;
  prefetch_next(loop);
  if (&to != &from) from.switch_to(to, flow_thread);
}

[[gnu::noinline]] TaskControl* running_task() noexcept { return running; }

/// After a task's body, which may have come to another thread.
[[gnu::noinline]] static void forget_running_task() noexcept { running = nullptr; }

/// What would come next is the parent's.
[[noreturn]] void end_forked_process(const FutureState& task) noexcept {
  print({.message = "a process that was forked inside a task has come to the task's end, and ends with it; its event "
                    "loop belongs to the parent",
         .object = task.description(),
         .created_at = task.created_at()});
  std::_Exit(EXIT_FAILURE);
}

/// Runs the task that `self` was entered for, and returns when it is entered for the next one.
[[gnu::noinline]] void Scheduler::run_task(Fiber& self, TaskControl& control) noexcept {
  set_default_floating_point();
  auto task = Ref<FutureState>::adopt(&control.state());  // what start() gave to the loop
  FiberPool& pool = *control.pool_;
  EventLoop& loop = control.loop();
  control.execute();
  if (loop.belongs_to_parent()) end_forked_process(*task);
  forget_running_task();
  task = nullptr;  // may report a lost exception, to a handler that is not part of any task
  pool.give_back(self);
  leave(self, loop);
}

/// Where every fiber begins.
void Scheduler::entry(Fiber& self) noexcept {
  for (;;) run_task(self, *running_task());
}

FiberLabel Scheduler::label(const void* user, std::span<char> buffer) noexcept {
  return static_cast<const TaskControl*>(user)->label(buffer);
}

[[gnu::hot]] void TaskControl::run() noexcept { Scheduler::step(*this); }

void (*on_watched_park)(const TaskControl& task) noexcept = nullptr;

[[gnu::hot]] [[gnu::noinline]] void park(Park& park) {
  TaskControl& me = *running;
  me.park_ = &park;
  me.frame_ = __builtin_frame_address(0);
  me.looked_at_ = park.looked_at();
  me.is_unwinding_ = flow_thread.is_unwinding();
  if (me.is_cancel_pending_ | me.is_park_watched_) [[unlikely]] {
    if (me.is_park_watched_) on_watched_park(me);
    if (me.is_cancel_pending_) me.serve_pending_cancel();
  }
  Scheduler::leave(*me.fiber_, me.loop());
  me.park_ = nullptr;
  me.operation_count_ = 0;
  if (me.is_interrupted_) [[unlikely]] {
    me.is_interrupted_ = false;
    me.throw_cancelled();
  }
}

CallbackScope::CallbackScope() noexcept : interrupted_(std::exchange(running, nullptr)) {}
CallbackScope::~CallbackScope() { running = interrupted_; }

StepScope::StepScope(TaskControl& task) noexcept : task_(task), interrupted_(std::exchange(running, &task)) {
  if (interrupted_ != nullptr) task.fiber_ = interrupted_->fiber_;
}
StepScope::~StepScope() {
  task_.fiber_ = nullptr;
  running = interrupted_;
}

}  // namespace tulp::detail
