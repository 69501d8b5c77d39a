#include "net/resolver.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include "base/thread.hpp"
#include "net/name_lookup.hpp"

namespace tulp::detail {
namespace {

constexpr int most_threads_of_a_loop = 4;
constexpr int most_threads_of_the_process = 32;

std::atomic<int> threads_of_the_process = 0;

}  // namespace

/// One question, however many wait for its answer.  Made on the loop's thread, worked on by another, ended on the loop's.
class Resolver::Job : public Runnable, public std::enable_shared_from_this<Job> {
 public:
  Job(Resolver& resolver, std::string question) : resolver_(resolver), question_(std::move(question)) {}
  virtual ~Job() = default;

  const std::string& question() const noexcept { return question_; }
  /// On a resolver's thread.
  virtual void work() noexcept = 0;
  /// Nobody is to be answered any more.
  virtual void forget() noexcept = 0;
  /// Puts `job` into the loop's queue; that owns it from then on.
  static void post(EventLoop& loop, std::shared_ptr<Job> job) noexcept {
    Job& posted = *job;
    posted.queued_ = std::move(job);
    if (!loop.post_threadsafe(posted)) posted.queued_ = nullptr;
  }

  void run() noexcept final {
    const auto self = std::move(queued_);
    resolver_.jobs_.erase(question_);
    answer();
  }
  void discard() noexcept final { const auto self = std::move(queued_); }

 protected:
  virtual void answer() noexcept = 0;
  Resolver& resolver_;

 private:
  std::string question_;
  std::shared_ptr<Job> queued_;
};

/// What one caller waits for.
template <class T>
class Resolver::Lookup final : public FutureStateOf<T>, public ListHook<Lookup<T>> {
 public:
  Lookup(EventLoop& loop, JobOf<T>& job) noexcept : FutureStateOf<T>(loop, nullptr), job_(&job) {
    self_ = Ref<Lookup>::share(this);
  }
  bool cancel(CancelReason reason) override {
    if (!FutureState::cancel(std::move(reason))) return false;
    if (JobOf<T>* const job = job_) {
      const auto self = leave();
      job->on_lookup_left();
    }
    return true;
  }
  /// Gives back the job's reference.
  Ref<Lookup> leave() noexcept {
    job_ = nullptr;
    ListHook<Lookup<T>>::unlink();
    return std::move(self_);
  }

 private:
  JobOf<T>* job_;
  Ref<Lookup> self_;  // the job's, until this is answered or cancelled
};

template <class T>
class Resolver::JobOf final : public Job {
 public:
  JobOf(Resolver& resolver, std::string question, UniqueFunction<T()> look_up)
      : Job(resolver, std::move(question)), look_up_(std::move(look_up)) {}

  Future<T> add_lookup() {
    if (lookups_.empty()) resolver_.loop_.expect_post();
    auto lookup = Ref<Lookup<T>>::adopt(new Lookup<T>(resolver_.loop_, *this));
    lookups_.push_back(*lookup);
    return Future<T>(std::move(lookup));
  }
  void on_lookup_left() noexcept {
    if (!lookups_.empty()) return;
    resolver_.loop_.end_expected_post();
    resolver_.abandon(*this);
  }
  void work() noexcept override {
    try {
      answer_ = look_up_();
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  void forget() noexcept override {
    while (!lookups_.empty()) lookups_.front().leave();
  }

 private:
  void answer() noexcept override {
    if (!lookups_.empty()) resolver_.loop_.end_expected_post();
    while (!lookups_.empty()) {
      const auto lookup = lookups_.front().leave();
      if (lookup->is_done()) continue;
      if (error_)
        lookup->fail(error_);
      else
        lookup->set_value(*answer_);
    }
  }

  UniqueFunction<T()> look_up_;
  std::optional<T> answer_;
  std::exception_ptr error_;
  IntrusiveList<Lookup<T>> lookups_;
};

struct Resolver::Shared {
  std::mutex mutex;
  std::condition_variable work_is_there;
  std::condition_variable thread_has_ended;
  EventLoop* loop;  // null when the resolver is gone
  std::deque<std::shared_ptr<Job>> jobs;
  int thread_count = 0;
  int idle_count = 0;
};

Resolver::Resolver(EventLoop& loop) : loop_(loop), shared_(std::make_shared<Shared>()) { shared_->loop = &loop; }

Resolver::~Resolver() {
  for (const auto& [question, job] : jobs_) job->forget();
  std::unique_lock lock(shared_->mutex);
  shared_->loop = nullptr;
  shared_->jobs.clear();
  shared_->work_is_there.notify_all();
  shared_->thread_has_ended.wait(lock, [this] { return shared_->idle_count == 0; });
}

/// The child has none of the threads.
void Resolver::on_fork() noexcept { threads_of_the_process = 0; }

/// Joins whoever asks the same.
template <class T>
Future<T> Resolver::ask(std::string question, UniqueFunction<T()> look_up) {
  if (const auto found = jobs_.find(question); found != jobs_.end())
    return static_cast<JobOf<T>&>(*found->second).add_lookup();
  auto job = std::make_shared<JobOf<T>>(*this, question, std::move(look_up));
  enqueue(job);
  jobs_.emplace(std::move(question), job);
  return job->add_lookup();
}

/// Throws: OsError - there is no thread, and none to be had.
void Resolver::enqueue(const std::shared_ptr<Job>& job) {
  const std::lock_guard lock(shared_->mutex);
  const bool is_thread_missing = shared_->idle_count <= static_cast<int>(shared_->jobs.size());
  const int most = threads_of_the_process < most_threads_of_the_process ? most_threads_of_a_loop : 1;
  if (is_thread_missing && shared_->thread_count < most) {
    auto shared = std::make_unique<std::shared_ptr<Shared>>(shared_);
    const int error = start_thread("tulp-resolver", work, shared.get());
    if (error == 0) {
      static_cast<void>(shared.release());
      ++threads_of_the_process;
      ++shared_->thread_count;
      ++shared_->idle_count;
    } else if (shared_->thread_count == 0) {
      throw_os_error(error, "start a thread to look up names");
    }
  }
  shared_->jobs.push_back(job);
  shared_->work_is_there.notify_one();
}

/// Nobody waits for `job` any more.  One that is under way cannot be stopped; it may still serve whoever asks next.
void Resolver::abandon(Job& job) {
  const auto keep = job.shared_from_this();
  const std::lock_guard lock(shared_->mutex);
  const auto found = std::find(shared_->jobs.begin(), shared_->jobs.end(), keep);
  if (found == shared_->jobs.end()) return;
  shared_->jobs.erase(found);
  jobs_.erase(job.question());
}

/// A thread's life.
void Resolver::work(void* argument) {
  const std::unique_ptr<std::shared_ptr<Shared>> shared(static_cast<std::shared_ptr<Shared>*>(argument));
  work_off(**shared);
  --threads_of_the_process;
}

void Resolver::work_off(Shared& shared) {
  std::unique_lock lock(shared.mutex);
  for (;;) {
    shared.work_is_there.wait(lock, [&] { return shared.loop == nullptr || !shared.jobs.empty(); });
    if (shared.loop == nullptr) break;
    std::shared_ptr<Job> job = std::move(shared.jobs.front());
    shared.jobs.pop_front();
    --shared.idle_count;
    lock.unlock();
    job->work();
    lock.lock();
    ++shared.idle_count;
    if (shared.loop != nullptr) Job::post(*shared.loop, std::move(job));
  }
  --shared.idle_count;
  --shared.thread_count;
  shared.thread_has_ended.notify_all();
}

namespace {

/// What tells questions apart.
template <class... Parts>
std::string question_of(const Parts&... parts) {
  std::string question;
  const auto add = [&question](const auto& part) {
    if constexpr (std::is_same_v<std::decay_t<decltype(part)>, int>)
      question += std::to_string(part);
    else
      question += part;
    question += '\0';
  };
  (add(parts), ...);
  return question;
}

/// The Future that `find()` gives, or one that failed as it did.
template <class T, class Find>
Future<T> guarded(EventLoop& loop, Find find) {
  try {
    return find();
  } catch (const std::system_error&) {
    Future<T> failed(loop);
    failed.set_exception(std::current_exception());
    return failed;
  }
}

template <class T>
Future<T> known(EventLoop& loop, T answer) {
  Future<T> future(loop);
  future.set_result(std::move(answer));
  return future;
}

}  // namespace

Future<std::vector<AddressInfo>> Resolver::getaddrinfo(std::string host, std::string service,
                                                       const AddressInfoOptions& options) {
  using Answer = std::vector<AddressInfo>;
  return guarded<Answer>(loop_, [&] {
    if (auto numeric = numeric_addresses(host, service, options)) return known(loop_, *std::move(numeric));
    auto question = question_of("addresses", host, service, options.family, options.type, options.proto, options.flags);
    return ask<Answer>(std::move(question), [host = std::move(host), service = std::move(service), options] {
      return look_up_addresses(host, service, options);
    });
  });
}

Future<NameInfo> Resolver::getnameinfo(const Address& address, int flags) {
  return guarded<NameInfo>(loop_, [&] {
    if (auto numeric = numeric_names(address, flags)) return known(loop_, *std::move(numeric));
    const std::string_view bytes(reinterpret_cast<const char*>(address.data()), address.size());
    return ask<NameInfo>(question_of("names", bytes, flags),
                         [address, flags] { return look_up_names(address, flags); });
  });
}

Future<std::monostate> Resolver::run(UniqueFunction<void()> look_up) {
  return guarded<std::monostate>(loop_, [&] {
    auto question = question_of("run", std::to_string(++run_count_));
    return ask<std::monostate>(std::move(question), [look_up = std::move(look_up)]() mutable {
      look_up();
      return std::monostate();
    });
  });
}

std::vector<Address> resolve(const std::string& host, std::uint16_t port, const AddressInfoOptions& options) {
  std::vector<Address> addresses;
  for (const AddressInfo& info : await(require_task("resolve").loop().getaddrinfo(host, port, options))) {
    if (std::find(addresses.begin(), addresses.end(), info.address) == addresses.end())
      addresses.push_back(info.address);
  }
  return addresses;
}

}  // namespace tulp::detail

namespace tulp {

using detail::Resolver;

Future<std::vector<AddressInfo>> EventLoop::getaddrinfo(std::string host, std::string service,
                                                        const AddressInfoOptions& options) {
  check_usable();
  return this->service<Resolver>().getaddrinfo(std::move(host), std::move(service), options);
}

Future<std::vector<AddressInfo>> EventLoop::getaddrinfo(std::string host, std::string service) {
  return getaddrinfo(std::move(host), std::move(service), AddressInfoOptions{});
}

Future<std::vector<AddressInfo>> EventLoop::getaddrinfo(std::string host, std::uint16_t port,
                                                        const AddressInfoOptions& options) {
  return getaddrinfo(std::move(host), std::to_string(port), options);
}

Future<std::vector<AddressInfo>> EventLoop::getaddrinfo(std::string host, std::uint16_t port) {
  return getaddrinfo(std::move(host), port, AddressInfoOptions{});
}

Future<NameInfo> EventLoop::getnameinfo(const Address& address, int flags) {
  check_usable();
  return this->service<Resolver>().getnameinfo(address, flags);
}

}  // namespace tulp
