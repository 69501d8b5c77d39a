// WorkerPool: threads with a loop and a server each, and the loop that they were started on.  Floor 8, streams.
#pragma once
#include <signal.h>
#include <tulp/detail/loop_link.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/serve.hpp>

#include <exception>
#include <memory>
#include <vector>

#include "streams/stream_server.hpp"

namespace tulp::detail {

class Worker;
class WorkerPool;

/// The pools of a loop that have not stopped.
class OpenWorkers final : public LoopService {
 public:
  explicit OpenWorkers(EventLoop& loop) : loop_(loop) {}
  void add(std::shared_ptr<WorkerPool> pool) { pools_.push_back(std::move(pool)); }
  void remove(const WorkerPool& pool) noexcept;

  /// While it lives, the first SIGTERM stops what the loop serves.
  class Termination {
   public:
    explicit Termination(OpenWorkers& all);
    Termination(const Termination&) = delete;
    Termination& operator=(const Termination&) = delete;
    ~Termination();

   private:
    OpenWorkers& all_;
  };

  void shut_down(Shutdown phase) override;
  bool is_quiet() const override { return pools_.empty(); }

 private:
  void stop_all();
  void forget_termination() noexcept;

  EventLoop& loop_;
  std::vector<std::shared_ptr<WorkerPool>> pools_;
  std::size_t serving_count_ = 0;
  bool is_watching_ = false;
};

/// Unless it says otherwise, a function is the owner's, on whose loop the pool was started.  What a worker has to tell it
/// comes as an entry of that loop's queue.
class WorkerPool : public std::enable_shared_from_this<WorkerPool> {
 public:
  /// Binds.  Parks: until names are resolved.  Throws: ResolveError, OsError.
  WorkerPool(EventLoop& owner, const StreamHandler& handler, Bind bind, ServeOptions options, const void* caller);
  ~WorkerPool();

  /// Those of its loop.
  OpenWorkers& all() const { return owner_.service<OpenWorkers>(); }
  /// Parks: until all workers accept.  Cancel, Throws: what kept one of them from it; none is left.
  void start();
  /// Parks: until all threads have told their end.  Throws: what ended one of them.
  void wait_closed();
  /// In a handler of CancelledError: stop() and wait_closed() all the same.
  void end_in_spite_of_cancel();

  /// Thread: any.
  void stop();
  /// Ends what stop() lets end by itself.  Thread: any.
  void cut_off();
  /// Of each worker.  Thread: any.
  std::vector<ServeStatistics> statistics() const;
  const std::vector<Address>& addresses() const noexcept { return addresses_; }
  std::size_t size() const noexcept { return workers_.size(); }

 private:
  friend class Worker;
  void start_threads();
  void expect(Worker& worker) noexcept;
  void on_accepting(Worker& worker) noexcept;
  void on_ended(Worker& worker, std::exception_ptr error);

  EventLoop& owner_;
  const std::shared_ptr<LoopLink> owner_link_ = owner_.link();
  const ServeOptions options_;
  const void* const caller_;
  sigset_t signal_mask_;
  std::vector<Address> addresses_;
  std::vector<std::unique_ptr<Worker>> workers_;

  std::size_t running_count_ = 0;  // threads that have not told their end
  std::size_t accepting_count_ = 0;
  bool is_stopping_ = false;
  std::exception_ptr error_;  // the first
  WaitQueue changed_;
};

}  // namespace tulp::detail
