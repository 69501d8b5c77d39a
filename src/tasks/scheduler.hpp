// Scheduler: tasks on fibers.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_control.hpp>

#include <memory>
#include <span>
#include <vector>

#include "fiber/fiber_pool.hpp"

namespace tulp::detail {

/// The fibers of a loop, by their stacks' size.
class FiberPools : public LoopService {
 public:
  explicit FiberPools(EventLoop&) {}
  FiberPool& of_size(std::size_t stack_size_bytes);
  void on_fork() noexcept override;

 private:
  std::vector<std::unique_ptr<FiberPool>> pools_;
};

/// The functions that move a thread from one task to the next.  What they keep for each thread is in park.cpp.
class Scheduler {
 public:
  /// On the loop's stack: runs `task` and whatever tasks it hands over to, until one of them comes back to the loop.
  static void step(TaskControl& task) noexcept;
  /// On a fiber: goes on to whatever is next.  Returns when `from` is entered again.
  static void leave(Fiber& from, EventLoop& loop) noexcept;
  /// Where a task of `loop` gets its fiber from.
  static FiberPool& pool_for(EventLoop& loop, std::size_t stack_size_bytes);
  /// Inside the flow that calls: runs the first step of `task`, and returns when that leaves its fiber.  False if that
  /// cannot be.
  static bool begin_here(TaskControl& task) noexcept;

 private:
  friend class FiberPools;
  static const FiberProgram program;
  static Fiber& enter(TaskControl& task) noexcept;
  static void prefetch_next(const EventLoop& loop) noexcept;
  static void entry(Fiber& self) noexcept;
  static void run_task(Fiber& self, TaskControl& control) noexcept;
  static FiberLabel label(const void* user, std::span<char> buffer) noexcept;
};

/// A task is about to begin whose libraries are to park it.  Defined on floor 8.
void prepare_blocking_calls();

}  // namespace tulp::detail
