#include "executor/executors.hpp"

#include <string>
#include <utility>

#include <tulp/detail/context.hpp>
#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>

namespace tulp {
namespace detail {

/// One piece of work.  Made on the loop's thread, worked on by another, ended on the loop's again.
class Executors::Execution final : public Runnable {
 public:
  /// `executors` counts it; null for one that nobody waits for.
  Execution(EventLoop& loop, Executors* executors, Executor::Work work)
      : loop_(loop), link_(loop.link()), executors_(executors), work_(std::move(work)) {
    loop_.expect_post();
    if (executors_ != nullptr) ++executors_->running_count_;
  }

  /// The executor's hold on it.
  struct Leave {
    void operator()(Execution* self) const noexcept {
      self->work_ = nullptr;  // what it holds ends in the thread, and before anybody hears of it
      if (!self->link_->post(*self)) delete self;
    }
  };
  using Hold = std::unique_ptr<Execution, Leave>;
  void work() { work_(); }

  void run() noexcept override {
    loop_.end_expected_post();
    if (executors_ != nullptr && --executors_->running_count_ == 0) executors_->on_idle();
    delete this;
  }
  void discard() noexcept override { delete this; }

 private:
  EventLoop& loop_;
  std::shared_ptr<LoopLink> link_;
  Executors* executors_;
  Executor::Work work_;
};

/// A thread that is still busy is left behind.
Executors::~Executors() {
  waiters_.abandon();
  if (own_) own_->abandon();
}

void Executors::check_default() const {
  if (is_default_shut_) throw InvalidStateError("the default executor was shut down");
}

Executor& Executors::default_executor() {
  check_default();
  if (default_ == nullptr) default_ = own_ = std::make_shared<ThreadPoolExecutor>();
  return *default_;
}

void Executors::set_default(std::shared_ptr<Executor> executor) {
  if (executor == nullptr) throw std::invalid_argument("set_default_executor: null");
  check_default();
  default_ = std::move(executor);
}

Future<> Executors::shut_down_default() {
  is_default_shut_ = true;
  Future<> drained(loop_);
  drains_.push_back(drained);
  if (running_count_ == 0) on_idle();
  return drained;
}

void Executors::on_idle() {
  for (Future<>& drained : std::exchange(drains_, {})) drained.set_result_unless_cancelled();
}

void Executors::execute(Executor& executor, Executor::Work work) {
  executor.execute([hold = Execution::Hold(new Execution(loop_, this, std::move(work)))] { hold->work(); });
}

void Executors::execute_waiter(Executor::Work wait) {
  waiters_.execute([hold = Execution::Hold(new Execution(loop_, nullptr, std::move(wait)))] { hold->work(); });
}

void Executors::shut_down(Shutdown phase) {
  if (phase != Shutdown::abort || is_quiet()) return;
  is_cut_off_ = true;
  const std::string calls =
      running_count_ == 1 ? "1 call in a thread has" : std::to_string(running_count_) + " calls in threads have";
  loop_.call_exception_handler({.message = "the event loop closes, and " + calls + " not ended"});
}

void start_waiter(EventLoop& loop, UniqueFunction<void()> wait) {
  loop.service<Executors>().execute_waiter(std::move(wait));
}

void execute_for_loop(EventLoop& loop, Executor* executor, Executor::Work work) {
  loop.check_usable();
  auto& executors = loop.service<Executors>();
  executors.execute(executor != nullptr ? *executor : executors.default_executor(), std::move(work));
}

// Calls that a task waits for.

namespace {

/// `body` uses the stack of the task, which therefore stays where it is until the body has been withdrawn or has ended.
class ThreadCall final : public RefCounted {
 public:
  ThreadCall(TaskControl& task, UniqueFunction<void()> body)
      : task_(task), link_(task.loop().link()), body_(std::move(body)) {}

  void run() noexcept {
    if (!leave_queue()) return;
    const ContextScope scope(context_);
    try {
      body_();
    } catch (...) {
      error_ = std::current_exception();
    }
    link_->post(task_);
  }
  /// False if it is too late.
  bool withdraw() noexcept { return leave_queue(); }
  /// The executor has dropped it.
  void cancel(const char* reason) {
    if (!leave_queue()) return;
    error_ = std::make_exception_ptr(FutureCancelledError(reason));
    link_->post(task_);
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  bool leave_queue() noexcept { return is_queued_.exchange(false, std::memory_order_acq_rel); }

  TaskControl& task_;
  std::shared_ptr<LoopLink> link_;
  UniqueFunction<void()> body_;
  Ref<Context> context_ = capture_context();
  std::exception_ptr error_;
  std::atomic<bool> is_queued_ = true;
};

class ThreadPark final : public Park {
 public:
  ThreadPark(ThreadCall& call, std::stop_source& stop) noexcept : call_(call), stop_(stop) {}
  void undo() noexcept override {}
  std::string description() const override { return "a call in another thread"; }
  bool can_be_left() noexcept override {
    if (call_.withdraw()) return true;
    stop_.request_stop();
    return false;
  }

 private:
  ThreadCall& call_;
  std::stop_source& stop_;
};

}  // namespace

void run_in_thread(UniqueFunction<void()> body, std::stop_source& stop) {
  TaskControl& me = require_task("to_thread");
  throw_if_cancelled();
  const auto call = Ref<ThreadCall>::adopt(new ThreadCall(me, std::move(body)));
  execute_for_loop(me.loop(), nullptr, Ticket<ThreadCall>(call));
  ThreadPark wait(*call, stop);
  park(wait);
  call->rethrow();
}

}  // namespace detail

void EventLoop::set_default_executor(std::shared_ptr<Executor> executor) {
  check_usable();
  service<detail::Executors>().set_default(std::move(executor));
}

Future<> EventLoop::shutdown_default_executor() {
  check_usable();
  return service<detail::Executors>().shut_down_default();
}

}  // namespace tulp
