#include "events/live_loops.hpp"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <vector>

#include <tulp/error.hpp>

#include "base/code_address.hpp"
#include "base/forkable_mutex.hpp"
#include "base/log.hpp"

/// Where a debugger begins (tools/gdb/tulp.py): the loops of the process.
extern "C" {
[[gnu::used, gnu::visibility("default")]] constinit std::vector<tulp::EventLoop*>* tulp_live_loops = nullptr;
}

namespace tulp {
namespace {

struct LiveLoops {
  LiveLoops();
  ForkableMutex mutex;  // recursive, since an exception handler may make or drop loops and futures of its own
  std::vector<EventLoop*> loops;
};

/// Never destroyed: a static object's future may die after it.
LiveLoops& live() {
  static auto& registry = *new LiveLoops;
  return registry;
}

LiveLoops::LiveLoops() {
  tulp_live_loops = &loops;
  ::pthread_atfork([] { live().mutex.lock(); }, [] { live().mutex.unlock(); },
                   [] {
                     live().mutex.reset();
                     for (EventLoop* loop : live().loops) loop->leave_to_parent();
                   });
}

class Report final : public Runnable {
 public:
  Report(EventLoop& loop, ExceptionContext context) : loop_(loop), context_(std::move(context)) {}
  void run() noexcept override {
    loop_.call_exception_handler(context_);
    delete this;
  }
  void discard() noexcept override {
    print(context_);
    delete this;
  }

 private:
  EventLoop& loop_;
  ExceptionContext context_;
};

}  // namespace

void remember_live_loop(EventLoop& loop) {
  const std::lock_guard lock(live().mutex);
  live().loops.push_back(&loop);
}

void forget_live_loop(EventLoop& loop) noexcept {
  const std::lock_guard lock(live().mutex);
  std::erase(live().loops, &loop);
}

void report_to_loop(EventLoop& loop, ExceptionContext context) noexcept {
  if (get_running_loop() == &loop) return loop.call_exception_handler(context);
  const std::lock_guard lock(live().mutex);
  const auto& loops = live().loops;
  if (std::find(loops.begin(), loops.end(), &loop) == loops.end()) return print(context);
  if (!loop.is_running()) return loop.call_exception_handler(context);
  auto* report = new Report(loop, std::move(context));
  if (!loop.post_threadsafe(*report)) report->discard();
}

ExceptionContext context_of_failure(std::string message, std::string object, const void* created_at) {
  const std::exception_ptr error = std::current_exception();
  return {.message = std::move(message),
          .exception = error,
          .object = std::move(object),
          .created_at = created_at,
          .trace = detail::take_throw_trace(error)};
}

namespace {

std::string describe_trace(const std::shared_ptr<const ThrowTrace>& trace) {
  if (trace == nullptr) return {};
  std::string text = describe_call_stack("thrown at", trace->thrown_at);
  for (const CallStack& stack : trace->awaited_at) text += describe_call_stack("awaited at", stack);
  return text;
}

/// Of each in a group, and in the groups among them.
std::string describe_members(const std::exception_ptr& error) {
  std::string text;
  try {
    std::rethrow_exception(error);
  } catch (const ExceptionGroup& group) {
    for (std::size_t i = 0; i < group.exceptions().size(); ++i) {
      const std::string trace = describe_trace(group.trace(i));
      if (!trace.empty()) text += "  " + describe(group.exceptions()[i]) + "\n" + trace;
      text += describe_members(group.exceptions()[i]);
    }
  } catch (...) {  // it stands for itself
  }
  return text;
}

}  // namespace

std::string to_string(const ExceptionContext& context) {
  std::string text = "tulp: " + context.message;
  if (context.exception) text += ": " + describe(context.exception);
  if (!context.object.empty()) text += "\n  " + context.object;
  if (context.created_at != nullptr)
    text += (context.object.empty() ? "\n  created at " : ", created at ") + describe_code_address(context.created_at);
  text += '\n';
  text += describe_trace(context.trace);
  if (context.exception) text += describe_members(context.exception);
  return text;
}

void print(const ExceptionContext& context) noexcept {
  try {
    log(to_string(context));
  } catch (const std::exception& error) {  // no memory left for the text
    std::fprintf(stderr, "tulp: %s (%s)\n", context.message.c_str(), error.what());
  }
}

}  // namespace tulp
