#include "streams/workers.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/run.hpp>
#include <tulp/task.hpp>

#include "base/sys.hpp"
#include "base/thread.hpp"
#include "net/socket.hpp"

namespace tulp::detail {
namespace {

using BoundSockets = std::vector<BoundSocket>;

/// Another descriptor of the same socket: one queue of connections for both.
BoundSocket share(const BoundSocket& bound) {
  UniqueFd copy(sys.fcntl(bound.socket.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) throw_os_error(errno, "dup of a socket to listen on");
  return {std::move(copy), {}, bound.is_listening};
}

/// Whether sockets of their own may be bound beside this one.
bool can_share_port(const BoundSocket& bound) noexcept {
  const int on = 1;
  return local_address(bound.socket.get()).family() != AF_UNIX && !bound.is_listening &&
         sys.setsockopt(bound.socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
}

/// Sockets for each of `count` workers.  The first ones were bound alone, so that a port in use is an error.
std::vector<BoundSockets> spread_over_sockets(BoundSockets first, std::size_t count, const ServerOptions& options) {
  ServerOptions beside = options;
  beside.reuse_port = true;
  std::vector<BoundSockets> sockets(count);
  for (BoundSocket& bound : first) {
    const bool has_own = count > 1 && options.socks.empty() && can_share_port(bound);
    for (std::size_t i = 1; i < count; ++i)
      sockets[i].push_back(has_own ? std::move(bind_to(local_address(bound.socket.get()), beside)().front())
                                   : share(bound));
    sockets[0].push_back(std::move(bound));
  }
  return sockets;
}

/// Something that another thread does in its loop's turn.
template <class F>
class Message final : public Runnable {
 public:
  explicit Message(F call) : call_(std::move(call)) {}
  void run() noexcept override {
    call_();
    delete this;
  }
  void discard() noexcept override { delete this; }

 private:
  F call_;
};

/// Calls `call()` on the loop's thread, unless the loop has closed.
template <class F>
void post(LoopLink& link, F call) {
  auto message = std::make_unique<Message<F>>(std::move(call));
  if (link.post(*message)) static_cast<void>(message.release());
}

}  // namespace

/// One thread with its loop and its server.
class Worker {
 public:
  Worker(WorkerPool& pool, const StreamHandler& handler, BoundSockets sockets)
      : pool_(pool), handler_(handler), sockets_(std::move(sockets)) {}

  /// Throws: OsError.
  void start();
  /// Thread: any.
  void stop() { ask(&Worker::on_stop); }
  void cut_off() { ask(&Worker::on_cut_off); }
  ServeStatistics statistics() const noexcept { return traffic_->so_far(); }

  // The owner's.
  bool is_running = false;   // its thread has not told its end
  bool is_expected = false;  // it is about to tell something

 private:
  using Request = void (Worker::*)();
  /// What a thread is given.  The pool lives as long as one of its threads.
  struct Entry {
    Worker& worker;
    std::shared_ptr<WorkerPool> pool;
  };
  static void enter(void* entry);

  void ask(Request request);
  std::exception_ptr run() noexcept;
  void serve();
  void take_requests(EventLoop& loop);
  void on_stop() {
    is_stopped_ = true;
    stopped_.wake_all();
  }
  void on_cut_off() {
    is_cut_off_ = true;
    main_.cancel("the workers are cut off");
  }

  WorkerPool& pool_;
  StreamHandler handler_;
  BoundSockets sockets_;
  const std::shared_ptr<Traffic> traffic_ = std::make_shared<Traffic>();

  std::mutex mutex_;                // over the next two
  std::shared_ptr<LoopLink> link_;  // once there is a loop
  std::vector<Request> early_requests_;

  // Of its thread.
  TaskHandle main_;
  bool is_stopped_ = false;
  bool is_cut_off_ = false;
  WaitQueue stopped_;
};

void Worker::start() {
  auto entry = std::make_unique<Entry>(Entry{*this, pool_.shared_from_this()});
  const int error = start_joinable_thread("tulp-worker", enter, entry.get());
  if (error != 0) throw_os_error(error, "starting a worker thread");
  static_cast<void>(entry.release());
}

void Worker::enter(void* argument) {
  const std::unique_ptr<Entry> entry(static_cast<Entry*>(argument));
  Worker& worker = entry->worker;
  const auto owner = entry->pool->owner_link_;
  ::pthread_sigmask(SIG_SETMASK, &entry->pool->signal_mask_, nullptr);
  std::exception_ptr error = worker.run();
  // The owner shall be the one who destroys the pool, and not go on before the thread is gone.
  auto tell = [pool = std::move(entry->pool), &worker, error = std::move(error),
               thread = ThreadEnd::of_this_thread()]() mutable {
    thread.wait();
    pool->on_ended(worker, error);
  };
  post(*owner, std::move(tell));
}

void Worker::ask(Request request) {
  const std::lock_guard lock(mutex_);
  if (link_ == nullptr) return early_requests_.push_back(request);
  post(*link_, [this, request] { (this->*request)(); });
}

/// From now on they come through the loop.
void Worker::take_requests(EventLoop& loop) {
  std::vector<Request> early;
  {
    const std::lock_guard lock(mutex_);
    link_ = loop.link();
    early.swap(early_requests_);
  }
  for (const Request request : early) (this->*request)();
}

std::exception_ptr Worker::run() noexcept {
  std::exception_ptr error;
  try {
    tulp::run([this] { serve(); }, {.loop = pool_.options_.loop});
  } catch (const FutureCancelledError&) {
    if (!is_cut_off_) error = std::current_exception();
  } catch (...) {
    error = std::current_exception();
  }
  main_ = {};  // this and what the handler holds are this thread's, to the end
  handler_ = nullptr;
  return error;
}

void Worker::serve() {
  const ServeOptions& options = pool_.options_;
  EventLoop& loop = get_event_loop();
  main_ = current_task();
  take_requests(loop);
  if (options.on_start) options.on_start();
  auto listen = [&] {
    for (BoundSocket& socket : sockets_) listen_on(socket, options.server);
    return std::move(sockets_);
  };
  Server server = open_stream_server(loop, handler_, listen, options.server, pool_.caller_, traffic_);
  post(*pool_.owner_link_, [this, pool = pool_.shared_from_this()] { pool->on_accepting(*this); });
  if (!is_stopped_) stopped_.wait("the end of the workers");
  traffic_->on_cut_off(server.shutdown(options.grace));
}

namespace {

ServeOptions complete(ServeOptions options) {
  if (options.workers == 0) options.workers = std::max(1U, std::thread::hardware_concurrency());
  options.server.start_serving = true;
  return options;
}

}  // namespace

WorkerPool::WorkerPool(EventLoop& owner, const StreamHandler& handler, Bind bind, ServeOptions options,
                       const void* caller)
    : owner_(owner), options_(complete(std::move(options))), caller_(caller) {
  ::pthread_sigmask(SIG_SETMASK, nullptr, &signal_mask_);
  BoundSockets first = bind();
  for (const BoundSocket& bound : first) addresses_.push_back(local_address(bound.socket.get()));
  for (BoundSockets& sockets : spread_over_sockets(std::move(first), options_.workers, options_.server))
    workers_.push_back(std::make_unique<Worker>(*this, handler, std::move(sockets)));
}

WorkerPool::~WorkerPool() = default;

void WorkerPool::start() {
  all().add(shared_from_this());
  start_threads();
  try {
    while (!error_ && running_count_ == workers_.size() && accepting_count_ < workers_.size())
      changed_.wait("the workers to begin");
    if (!error_) return;
    stop();
    cut_off();  // what has begun too early
    wait_closed();
  } catch (const CancelledError&) {
    end_in_spite_of_cancel();
    throw;
  }
}

void WorkerPool::start_threads() {
  for (const auto& worker : workers_) {
    try {
      worker->start();
    } catch (const OsError&) {
      error_ = std::current_exception();
      break;
    }
    ++running_count_;
    worker->is_running = true;
    expect(*worker);
  }
  if (running_count_ == 0) all().remove(*this);
}

/// Where time is virtual it stands still while a worker begins or ends.
void WorkerPool::expect(Worker& worker) noexcept {
  if (!std::exchange(worker.is_expected, true)) owner_.expect_post();
}

void WorkerPool::on_accepting(Worker& worker) noexcept {
  ++accepting_count_;
  if (!is_stopping_ && std::exchange(worker.is_expected, false)) owner_.end_expected_post();
  changed_.wake_all();
}

void WorkerPool::on_ended(Worker& worker, std::exception_ptr error) {
  if (std::exchange(worker.is_expected, false)) owner_.end_expected_post();
  --running_count_;
  worker.is_running = false;
  if (error && !error_) error_ = std::move(error);
  if (error_) stop();
  if (running_count_ == 0) all().remove(*this);
  changed_.wake_all();
}

void WorkerPool::wait_closed() {
  while (running_count_ > 0) changed_.wait("the workers to end");
  if (error_) std::rethrow_exception(error_);
}

void WorkerPool::end_in_spite_of_cancel() {
  stop();
  const CancelShield shield;
  try {
    wait_closed();
  } catch (...) {
    owner_.call_exception_handler({.message = "a worker has failed", .exception = std::current_exception()});
  }
}

void WorkerPool::stop() {
  for (const auto& worker : workers_) worker->stop();
  if (get_running_loop() != &owner_ || std::exchange(is_stopping_, true)) return;
  for (const auto& worker : workers_)
    if (worker->is_running) expect(*worker);
}

void WorkerPool::cut_off() {
  for (const auto& worker : workers_) worker->cut_off();
}

std::vector<ServeStatistics> WorkerPool::statistics() const {
  std::vector<ServeStatistics> all;
  for (const auto& worker : workers_) all.push_back(worker->statistics());
  return all;
}

void OpenWorkers::remove(const WorkerPool& pool) noexcept {
  std::erase_if(pools_, [&](const auto& open) { return open.get() == &pool; });
}

void OpenWorkers::shut_down(Shutdown phase) {
  if (phase == Shutdown::refuse) stop_all();
  if (phase == Shutdown::abort)
    for (const auto& pool : pools_) pool->cut_off();
}

void OpenWorkers::stop_all() {
  for (const auto& pool : pools_) pool->stop();
}

OpenWorkers::Termination::Termination(OpenWorkers& all) : all_(all) {
  struct sigaction present {};
  if (all_.serving_count_ == 0 && sys.sigaction(SIGTERM, nullptr, &present) == 0 &&
      (present.sa_flags & SA_SIGINFO) == 0 && present.sa_handler == SIG_DFL) {
    all_.loop_.add_signal_handler(SIGTERM, [&all] {
      all.forget_termination();  // the second one ends the process
      all.stop_all();
    });
    all_.is_watching_ = true;
  }
  ++all_.serving_count_;
}

OpenWorkers::Termination::~Termination() {
  if (--all_.serving_count_ == 0) all_.forget_termination();
}

void OpenWorkers::forget_termination() noexcept {
  if (std::exchange(is_watching_, false)) loop_.remove_signal_handler(SIGTERM);
}

}  // namespace tulp::detail
