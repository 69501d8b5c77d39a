// cancel_at_each_point: one cancellation, of each task of a small program in turn, after each number of passes.
#pragma once
#include <tulp/task.hpp>

#include <cstddef>
#include <vector>

#include "support/loops.hpp"

namespace tulp::test {

/// Inside a task.  Each time `start()` makes the program anew and returns its tasks; when all have ended, `check(tasks,
/// victim)` says what has to hold.
template <class Start, class Check>
void cancel_at_each_point(int passes, Start start, Check check) {
  for (int at = 0; at <= passes; ++at) {
    for (std::size_t victim = 0, count = 1; victim < count; ++victim) {
      std::vector<Task<>> tasks = start();
      count = tasks.size();
      let_others_run(at);
      tasks[victim].cancel();
      for (Task<>& task : tasks) {
        try {
          await(task);
        } catch (const FutureCancelledError&) {
        }
      }
      INFO("task " << victim << " was cancelled after " << at << " passes");
      for (std::size_t i = 0; i < count; ++i)
        if (i != victim) CHECK_FALSE(tasks[i].cancelled());
      check(tasks, victim);
    }
  }
}

}  // namespace tulp::test
