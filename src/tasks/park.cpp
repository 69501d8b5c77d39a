// These are the only functions that leave a fiber.
//
// A task's step is a Runnable: whatever wakes the task queues it.  Its turn comes either on the loop's own stack, which
// switches to the fiber, or while another fiber leaves, which then switches straight across.  A fiber whose task has
// ended takes up the next task that has not begun, without any switch, or waits in its pool.
#include <tulp/detail/task_control.hpp>

#include <exception>
#include <memory>
#include <vector>

#include <tulp/error.hpp>

#include "fiber/fiber_pool.hpp"
#include "tasks/scheduler.hpp"

namespace tulp::detail {
namespace {

[[gnu::tls_model("initial-exec")]] constinit thread_local TaskControl* running = nullptr;

/// What a thread that runs tasks has.
struct ThreadFibers {
  Fiber loop_flow;   // the thread's own stack, where its loop runs
  std::vector<std::unique_ptr<FiberPool>> pools;
};

[[gnu::tls_model("initial-exec")]] constinit thread_local ThreadFibers* thread_fibers = nullptr;

ThreadFibers& make_thread_fibers() {
  thread_local const std::unique_ptr<ThreadFibers, void (*)(ThreadFibers*)> owner(
      thread_fibers = new ThreadFibers, [](ThreadFibers* fibers) {
        thread_fibers = nullptr;
        delete fibers;
      });
  return *owner;
}

ThreadFibers& fibers_of_this_thread() {
  return thread_fibers != nullptr ? *thread_fibers : make_thread_fibers();
}

}  // namespace

const FiberProgram Scheduler::program = {.entry = entry, .label = label};

FiberPool& Scheduler::pool_for(std::size_t stack_size_bytes) {
  auto& pools = fibers_of_this_thread().pools;
  for (const auto& pool : pools)
    if (pool->stack_size_bytes() == stack_size_bytes) return *pool;
  return *pools.emplace_back(std::make_unique<FiberPool>(stack_size_bytes, program));
}

/// Makes `task` the running one, on a fiber that is its own from now on.
Fiber& Scheduler::enter(TaskControl& task) noexcept {
  running = &task;
  if (task.fiber_ == nullptr) {
    task.fiber_ = &task.pool_.take();
    task.fiber_->user = &task;
  }
  return *task.fiber_;
}

void Scheduler::step(TaskControl& task) noexcept {
  thread_fibers->loop_flow.switch_to(enter(task));
  running = nullptr;
}

void Scheduler::leave(Fiber& from, EventLoop& loop) noexcept {
  running = nullptr;
  loop.run_deferred();
  Runnable* next = loop.take_task_step();
  Fiber& to = next != nullptr ? enter(static_cast<TaskControl&>(*next)) : thread_fibers->loop_flow;
  if (&to != &from) from.switch_to(to);
}

/// Where every fiber begins: runs one task after another.
void Scheduler::entry(Fiber& self) noexcept {
  for (;;) {
    FiberPool& pool = running->pool_;
    EventLoop& loop = running->loop();
    running->execute();   // the task may be gone now
    pool.give_back(self);
    leave(self, loop);
  }
}

FiberLabel Scheduler::label(const void* user, std::span<char> buffer) noexcept {
  return static_cast<const TaskControl*>(user)->label(buffer);
}

void TaskControl::run() noexcept { Scheduler::step(*this); }

TaskControl* running_task() noexcept { return running; }

void park(Park& park) {
  TaskControl& me = *running;
  me.park_ = &park;
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

}  // namespace tulp::detail
