#include <tulp/executor.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace tulp {

struct ThreadPoolExecutor::Shared {
  std::size_t max_workers;
  mutable std::mutex mutex;
  std::condition_variable work_is_there;
  std::deque<Work> queue;
  std::vector<std::thread> threads;
  std::size_t idle_count = 0;  // waiting, or on their way to it
  bool is_stopped = false;
};

ThreadPoolExecutor::ThreadPoolExecutor(ThreadPoolOptions options) : shared_(std::make_shared<Shared>()) {
  const std::size_t by_default = std::min<std::size_t>(32, std::thread::hardware_concurrency() + 4);
  shared_->max_workers = options.max_workers != 0 ? options.max_workers : by_default;
}

ThreadPoolExecutor::~ThreadPoolExecutor() { shutdown(); }

void ThreadPoolExecutor::execute(Work work) {
  const std::lock_guard lock(shared_->mutex);
  if (shared_->is_stopped) throw InvalidStateError("the executor was shut down");
  if (shared_->idle_count <= shared_->queue.size() && shared_->threads.size() < shared_->max_workers) {
    try {
      shared_->threads.emplace_back(&ThreadPoolExecutor::work, shared_);
      ++shared_->idle_count;
    } catch (const std::system_error& error) {
      if (shared_->threads.empty()) throw OsError(error.code().value(), "starting a thread");
    }
  }
  shared_->queue.push_back(std::move(work));
  shared_->work_is_there.notify_one();
}

void ThreadPoolExecutor::work(const std::shared_ptr<Shared>& shared) noexcept {
  std::unique_lock lock(shared->mutex);
  for (;;) {
    shared->work_is_there.wait(lock, [&] { return shared->is_stopped || !shared->queue.empty(); });
    if (shared->queue.empty()) break;
    --shared->idle_count;
    {
      Work work = std::exchange(shared->queue.front(), nullptr);
      shared->queue.pop_front();
      lock.unlock();
      work();
    }
    lock.lock();
    ++shared->idle_count;
  }
}

void ThreadPoolExecutor::stop(bool drops_queue) noexcept {
  std::deque<Work> dropped;  // destroyed without the lock: what it holds may be anything
  const std::lock_guard lock(shared_->mutex);
  shared_->is_stopped = true;
  if (drops_queue) dropped.swap(shared_->queue);
  shared_->work_is_there.notify_all();
}

void ThreadPoolExecutor::shutdown(ShutdownOptions options) {
  stop(options.cancel_futures);
  if (!options.wait) return;
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(shared_->mutex);
    threads.swap(shared_->threads);
  }
  for (std::thread& thread : threads) thread.join();
}

void ThreadPoolExecutor::abandon() noexcept {
  stop(true);
  const std::lock_guard lock(shared_->mutex);
  for (std::thread& thread : shared_->threads) thread.detach();
  shared_->threads.clear();
}

std::size_t ThreadPoolExecutor::thread_count() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->threads.size();
}

}  // namespace tulp
