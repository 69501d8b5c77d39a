// Scheduler: tasks on fibers.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_control.hpp>

#include <span>

#include "fiber/fiber_pool.hpp"

namespace tulp::detail {

/// The functions that move a thread from one task to the next.  All of its state is per thread, in park.cpp.
class Scheduler {
 public:
  static FiberPool& pool_for(std::size_t stack_size_bytes);
  /// On the loop's stack: runs `task` and whatever tasks it hands over to, until one of them comes back to the loop.
  static void step(TaskControl& task) noexcept;
  /// On a fiber: goes on to whatever is next.  Returns when `from` is entered again.
  static void leave(Fiber& from, EventLoop& loop) noexcept;

 private:
  static const FiberProgram program;
  static Fiber& enter(TaskControl& task) noexcept;
  static void entry(Fiber& self) noexcept;
  static FiberLabel label(const void* user, std::span<char> buffer) noexcept;
};

}  // namespace tulp::detail
