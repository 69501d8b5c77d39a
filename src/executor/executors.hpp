// Executors: a loop's part in what runs in threads.  Floor 6, executor.
#pragma once
#include <tulp/executor.hpp>
#include <tulp/future.hpp>

#include <memory>
#include <vector>

namespace tulp::detail {

class Executors final : public LoopService {
 public:
  explicit Executors(EventLoop& loop) : loop_(loop) {}
  ~Executors() override;

  /// Made when it is first asked for.  Throws: InvalidStateError - it was shut down.
  Executor& default_executor();
  void set_default(std::shared_ptr<Executor> executor);
  Future<> shut_down_default();
  /// Runs `work` in a thread; the end of the loop waits for it.
  void execute(Executor& executor, Executor::Work work);
  /// Runs `wait` in a thread of its own; the end of the loop does not wait for it.
  void execute_waiter(Executor::Work wait);

  void shut_down(Shutdown phase) override;
  bool is_quiet() const override { return running_count_ == 0 || is_cut_off_; }

 private:
  class Execution;
  void check_default() const;
  void on_idle();

  EventLoop& loop_;
  std::shared_ptr<Executor> default_;
  std::shared_ptr<ThreadPoolExecutor> own_;  // default_, if the loop has made it
  ThreadPoolExecutor waiters_{{.max_workers = static_cast<std::size_t>(-1)}};
  std::vector<Future<>> drains_;  // done when nothing runs
  int running_count_ = 0;
  bool is_default_shut_ = false;
  bool is_cut_off_ = false;
};

}  // namespace tulp::detail
