#include <mutex>

#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>

#include "base/main_thread.hpp"
#include "events/policy.hpp"

namespace tulp {
namespace {

thread_local EventLoop* loop_of_this_thread = nullptr;

std::mutex policy_mutex;
std::unique_ptr<EventLoopPolicy> policy;

}  // namespace

EventLoopPolicy::~EventLoopPolicy() = default;

EventLoop& EventLoopPolicy::get_event_loop() {
  if (loop_of_this_thread != nullptr) return *loop_of_this_thread;
  if (!is_main_thread())
    throw InvalidStateError("this thread has no event loop; set_event_loop() or run() gives it one");
  main_loop_ = new_event_loop({});
  loop_of_this_thread = main_loop_.get();
  return *main_loop_;
}

void EventLoopPolicy::set_event_loop(EventLoop* loop) { loop_of_this_thread = loop; }

EventLoopPolicy& get_event_loop_policy() {
  const std::lock_guard lock(policy_mutex);
  if (policy == nullptr) policy = std::make_unique<EventLoopPolicy>();
  return *policy;
}

void set_event_loop_policy(std::unique_ptr<EventLoopPolicy> next) {
  const std::lock_guard lock(policy_mutex);
  policy = std::move(next);
}

EventLoop& get_event_loop() {
  EventLoop* running = get_running_loop();
  return running != nullptr ? *running : get_event_loop_policy().get_event_loop();
}

EventLoop* present_event_loop() noexcept {
  EventLoop* running = get_running_loop();
  return running != nullptr ? running : loop_of_this_thread;
}

void forget_event_loop(const EventLoop& loop) noexcept {
  if (loop_of_this_thread == &loop) loop_of_this_thread = nullptr;
}

void set_event_loop(EventLoop* loop) { get_event_loop_policy().set_event_loop(loop); }

std::unique_ptr<EventLoop> new_event_loop(LoopOptions options) {
  return get_event_loop_policy().new_event_loop(options);
}

}  // namespace tulp
