#include "net/resolver.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include "base/sys.hpp"

namespace tulp::detail {
namespace {

constexpr int most_threads = 4;

/// getaddrinfo would read "0x7f000001" and "127.1" as addresses, and stop at a NUL: names that look like something else
/// than they are.
bool is_misleading(const std::string& host) {
  in_addr address{};
  return host.find('\0') != std::string::npos || host.size() > 255 || ::inet_aton(host.c_str(), &address) != 0;
}

std::vector<Address> look_up(const ResolveQuery& query) {
  const std::string where = "resolve " + query.host;
  if (is_misleading(query.host)) throw ResolveError(EAI_NONAME, where);
  addrinfo hints{};
  hints.ai_family = query.family;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = query.is_passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  const int error = sys.getaddrinfo(query.host.empty() ? nullptr : query.host.c_str(),
                                    std::to_string(query.port).c_str(), &hints, &found);
  if (error == EAI_SYSTEM) throw_os_error(errno, where);
  if (error != 0) throw ResolveError(error, where);
  std::vector<Address> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const Address address(at->ai_addr, at->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  sys.freeaddrinfo(found);
  if (addresses.empty()) throw ResolveError(EAI_NONAME, where);
  return addresses;
}

}  // namespace

/// One look-up.  Made on the loop's thread, worked on by another, ended on the loop's again.
class Resolver::Job final : public Runnable {
 public:
  Job(EventLoop& loop, ResolveQuery query) : query_(std::move(query)), future_(loop) {}

  const Future<std::vector<Address>>& future() const { return future_; }
  void work() noexcept {
    try {
      addresses_ = look_up(query_);
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  void run() noexcept override {
    const std::unique_ptr<Job> self(this);
    if (future_.done()) return;  // cancelled meanwhile
    if (error_)
      future_.set_exception(std::move(error_));
    else
      future_.set_result(std::move(addresses_));
  }
  void discard() noexcept override { delete this; }

 private:
  ResolveQuery query_;
  Future<std::vector<Address>> future_;
  std::vector<Address> addresses_;
  std::exception_ptr error_;
};

struct Resolver::Shared {
  std::mutex mutex;
  std::condition_variable work_is_there;
  std::condition_variable thread_has_ended;
  EventLoop* loop;  // null when the resolver is gone
  std::deque<std::unique_ptr<Job>> jobs;
  int thread_count = 0;
  int idle_count = 0;
};

Resolver::Resolver(EventLoop& loop) : loop_(loop), shared_(std::make_shared<Shared>()) { shared_->loop = &loop; }

Resolver::~Resolver() {
  std::unique_lock lock(shared_->mutex);
  shared_->loop = nullptr;
  shared_->jobs.clear();
  shared_->work_is_there.notify_all();
  shared_->thread_has_ended.wait(lock, [this] { return shared_->idle_count == 0; });
}

Future<std::vector<Address>> Resolver::resolve(ResolveQuery query) {
  if (const auto numeric = Address::parse(query.host, query.port)) {
    Future<std::vector<Address>> ready(loop_);
    if (query.family == AF_UNSPEC || query.family == numeric->family())
      ready.set_result({*numeric});
    else
      ready.set_exception(ResolveError(EAI_ADDRFAMILY, "resolve " + query.host));
    return ready;
  }
  auto job = std::make_unique<Job>(loop_, std::move(query));
  auto future = job->future();
  const std::lock_guard lock(shared_->mutex);
  if (shared_->idle_count <= static_cast<int>(shared_->jobs.size()) && shared_->thread_count < most_threads) {
    std::thread(&Resolver::work, shared_).detach();  // throws if there is no thread to be had
    ++shared_->thread_count;
    ++shared_->idle_count;
  }
  shared_->jobs.push_back(std::move(job));
  shared_->work_is_there.notify_one();
  return future;
}

void Resolver::work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  for (;;) {
    shared->work_is_there.wait(lock, [&] { return shared->loop == nullptr || !shared->jobs.empty(); });
    if (shared->loop == nullptr) break;
    std::unique_ptr<Job> job = std::move(shared->jobs.front());
    shared->jobs.pop_front();
    --shared->idle_count;
    lock.unlock();
    job->work();
    lock.lock();
    ++shared->idle_count;
    if (shared->loop != nullptr && shared->loop->post_threadsafe(*job)) static_cast<void>(job.release());
  }
  --shared->idle_count;
  --shared->thread_count;
  shared->thread_has_ended.notify_all();
}

std::vector<Address> resolve(ResolveQuery query) {
  return await(require_task("resolve").loop().service<Resolver>().resolve(std::move(query)));
}

}  // namespace tulp::detail
