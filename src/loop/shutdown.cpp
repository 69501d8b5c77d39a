// How a loop ends: what can finish by itself may, and what cannot does not hold up the rest.
#include <tulp/detail/task_control.hpp>
#include <tulp/event_loop.hpp>

#include <algorithm>
#include <string>

#include <tulp/error.hpp>

#include "events/live_loops.hpp"

namespace tulp {
namespace {

constexpr Duration default_limit = std::chrono::seconds(5);

/// Lets run_forever() return after one batch, for which it may have waited.
class StopAfterBatch final : public detail::Deferred {
 public:
  explicit StopAfterBatch(EventLoop& loop) : loop_(loop) { loop.defer(*this); }
  void run_deferred() noexcept override { loop_.stop(); }

 private:
  EventLoop& loop_;
};

/// Runs `loop` until `done()`, which is asked before each iteration, or until `limit` has passed.
template <class Done>
void run_until(EventLoop& loop, Duration limit, Done done) {
  bool is_late = false;
  TimerHandle clock = loop.call_later(limit, [&] { is_late = true; });
  while (!is_late && !done()) {
    const StopAfterBatch stop(loop);
    loop.run_forever();
  }
  clock.cancel();
}

void leak(detail::TaskControl& task) noexcept {
  print({.message = "the event loop closes, and a task has not ended; its stack is leaked",
         .object = "task '" + task.name() + "'",
         .created_at = task.state().created_at()});
  task.unlink();
}

}  // namespace

/// Twice, because what ends at last may begin something anew.
void EventLoop::shut_down(Duration limit) {
  check_not_forked();
  shut_down_services(detail::LoopService::Shutdown::refuse);
  for (int round = 0; round < 2 && get_running_loop() == nullptr; ++round) {
    end_tasks(limit);
    tasks_.for_each(leak);
    end_services(limit);
  }
  tasks_.for_each(leak);
  shut_down_services(detail::LoopService::Shutdown::abort);  // of what is left, if the loop could not run
}

void EventLoop::end_tasks(Duration limit) {
  if (tasks_.empty()) return;
  const std::string reason = "the event loop closes";
  tasks_.for_each([&](detail::TaskControl& task) { task.request_cancel(reason); });
  run_until(*this, limit, [&] {
    tasks_.for_each([&](detail::TaskControl& task) {  // those that were started meanwhile
      if (task.cancelling() == 0) task.request_cancel(reason);
    });
    return tasks_.empty();
  });
  stop();
  run_forever();  // once more, for those who hear of their ends
}

void EventLoop::end_services(Duration limit) {
  for (const auto phase : {detail::LoopService::Shutdown::finish, detail::LoopService::Shutdown::abort}) {
    if (is_quiet()) return;
    shut_down_services(phase);
    run_until(*this, limit, [this] { return is_quiet(); });
  }
}

bool EventLoop::begin_close() {
  if (is_running_) throw InvalidStateError("cannot close a running event loop");
  if (is_closed_) return false;
  if (!belongs_to_parent_) shut_down(default_limit);
  is_closed_ = true;
  update_needs_check();
  return !belongs_to_parent_;
}

void EventLoop::shut_down_services(detail::LoopService::Shutdown phase) {
  for (std::size_t i = 0; i < services_.size(); ++i) services_[i].service->shut_down(phase);
}

bool EventLoop::is_quiet() const {
  return std::all_of(services_.begin(), services_.end(),
                     [](const ServiceEntry& entry) { return entry.service->is_quiet(); });
}

}  // namespace tulp
