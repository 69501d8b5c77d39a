#include <tulp/thread.hpp>

#include <pthread.h>

#include <cxxabi.h>

#include <exception>
#include <ostream>
#include <system_error>

#include <tulp/error.hpp>

#include "base/throw_watch.hpp"
#include "events/live_loops.hpp"
#include "sync/flow_wait.hpp"

namespace tulp {
namespace detail {

/// What a thread's object and its task know of each other.
class ThreadState {
 public:
  explicit ThreadState(EventLoop& loop) noexcept : loop_(&loop) {}

  /// Of the loop's thread: the task, until it has ended.
  void set_task(TaskControl& task) noexcept {
    id_ = thread::id(reinterpret_cast<std::uintptr_t>(loop_), task.number());
    if (!is_over_) task_ = &task;
  }
  thread::id id() const noexcept { return id_; }
  void finish() noexcept {
    task_ = nullptr;
    {
      const std::lock_guard guard(waiting_.guard());
      is_over_ = true;
    }
    waiting_.wake_all();
  }
  void wait(FlowWait::Cancel cancel) {
    FlowWait wait(waiting_, "thread::join", "the end of a thread", cancel);
    {
      const std::lock_guard guard(waiting_.guard());
      if (is_over_) return;
      waiting_.push(wait);
    }
    wait.wait();
  }
  /// Does nothing on another thread than the loop's.
  void cancel() noexcept {
    if (get_running_loop() == loop_ && task_ != nullptr)
      task_->state().cancel({"the task that started it was cancelled"});
  }

 private:
  EventLoop* loop_;
  thread::id id_;
  TaskControl* task_ = nullptr;
  FlowQueue waiting_;
  bool is_over_ = false;  // under the guard; written by the loop's thread
};

namespace {

/// What the task runs.  When it goes, having run or not, the thread has ended.
class ThreadBody {
 public:
  ThreadBody(std::shared_ptr<ThreadState> state, UniqueFunction<void()> function) noexcept
      : state_(std::move(state)), function_(std::move(function)) {}
  ThreadBody(ThreadBody&&) noexcept = default;
  ~ThreadBody() {
    function_ = nullptr;
    if (state_) state_->finish();
  }

  void operator()() {
    try {
      function_();
    } catch (const CancelledError&) {
      throw;
    } catch (const abi::__forced_unwind&) {
      throw;
    } catch (const ThrowWatch&) {
    } catch (...) {
      const TaskControl& me = *running_task();
      print(context_of_failure("an exception has left a tulp::thread, which ends the process", me.state().description(),
                               me.state().created_at()));
      std::terminate();
    }
  }

 private:
  std::shared_ptr<ThreadState> state_;
  UniqueFunction<void()> function_;
};

/// Whether this is the end of a scope that a cancellation of the running task leaves.
bool is_unwound_by_cancellation() noexcept {
  const TaskControl* const me = running_task();
  return me != nullptr && me->cancelling() > 0 && std::uncaught_exceptions() > 0;
}

[[noreturn]] void fail(std::errc error, const char* function) {
  throw std::system_error(std::make_error_code(error), function);
}

}  // namespace
}  // namespace detail

void thread::start(TaskOptions options, const void* caller, detail::UniqueFunction<void()> function) {
  EventLoop* const loop = get_running_loop();
  if (loop == nullptr) throw InvalidStateError("tulp::thread needs a loop that runs in this thread: see tulp::run()");
  options.blocking_calls = park;
  auto state = std::make_shared<detail::ThreadState>(*loop);
  const Task<> task = detail::start_task(*loop, options, caller, detail::ThreadBody(state, std::move(function)));
  state->set_task(*task.state()->task());
  state_ = std::move(state);
}

thread& thread::operator=(thread&& other) noexcept {
  if (joinable()) std::terminate();
  state_ = std::move(other.state_);
  return *this;
}

thread::~thread() {
  if (!joinable()) return;
  if (!detail::is_unwound_by_cancellation()) std::terminate();
  join_at_end();
}

void thread::join() {
  if (!joinable()) detail::fail(std::errc::invalid_argument, "thread::join");
  if (get_id() == this_thread::get_id()) detail::fail(std::errc::resource_deadlock_would_occur, "thread::join");
  state_->wait(detail::FlowWait::Cancel::leaves_line);
  state_ = nullptr;
}

void thread::join_at_end() noexcept {
  if (detail::is_unwound_by_cancellation()) state_->cancel();
  state_->wait(detail::FlowWait::Cancel::never);
  state_ = nullptr;
}

void thread::detach() {
  if (!joinable()) detail::fail(std::errc::invalid_argument, "thread::detach");
  state_ = nullptr;
}

thread::id thread::get_id() const noexcept { return state_ ? state_->id() : id(); }

std::ostream& operator<<(std::ostream& stream, thread::id value) {
  if (value == thread::id()) return stream << "no thread";
  stream << value.place_;
  return value.number_ != 0 ? stream << ':' << value.number_ : stream;
}

thread::id this_thread::get_id() noexcept {
  if (const detail::TaskControl* task = detail::running_task())
    return {reinterpret_cast<std::uintptr_t>(&task->loop()), task->number()};
  return {static_cast<std::uintptr_t>(::pthread_self()), 0};
}

void this_thread::yield() {
  if (detail::running_task() != nullptr) return detail::yield_now();
  std::this_thread::yield();
}

void this_thread::sleep_for(Duration span) {
  if (detail::running_task() != nullptr) return sleep(span);
  if (!span.is_never()) return std::this_thread::sleep_for(std::chrono::nanoseconds(span));
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void this_thread::sleep_until(TimePoint when) {
  const EventLoop* const loop = get_running_loop();
  const TimePoint now = loop != nullptr ? loop->time() : std::chrono::steady_clock::now();
  if (when > now) sleep_for(when == TimePoint::max() ? Duration::max() : Duration(when - now));
}

}  // namespace tulp
