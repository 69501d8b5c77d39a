// The task that runs on this thread.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_control.hpp>

namespace tulp::detail {

/// As fiber.hpp's flow_thread: not to be looked at in a function that has parked.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local TaskControl* running;

[[noreturn, gnu::cold]] void refuse_to_park(const TaskControl* task, const char* function);

/// As require_task(), inlined.
inline TaskControl& parkable_task(const char* function) {
  TaskControl* const task = running;
  if (task == nullptr || !task->is_park_allowed()) [[unlikely]]
    refuse_to_park(task, function);
  return *task;
}

}  // namespace tulp::detail
