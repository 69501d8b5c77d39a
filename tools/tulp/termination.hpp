// SIGTERM as the cancellation of a task, so that what it holds is cleaned up.  run() does the same for Ctrl-C.
#pragma once
#include <tulp/event_loop.hpp>
#include <tulp/task.hpp>

#include <csignal>

namespace tool {

/// While it lives, the first SIGTERM cancels the task that made it; a second one ends the process at once.
class Termination {
 public:
  static constexpr int exit_code = 128 + SIGTERM;  // as a shell would say

  Termination() {
    loop_.add_signal_handler(SIGTERM, [this, task = tulp::current_task()]() mutable {
      was_asked_ = true;
      loop_.remove_signal_handler(SIGTERM);
      task.cancel("SIGTERM");
    });
  }
  Termination(const Termination&) = delete;
  Termination& operator=(const Termination&) = delete;
  ~Termination() { loop_.remove_signal_handler(SIGTERM); }

  bool was_asked() const noexcept { return was_asked_; }

 private:
  tulp::EventLoop& loop_ = tulp::get_event_loop();
  bool was_asked_ = false;
};

}  // namespace tool
