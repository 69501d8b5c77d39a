// Boost.Asio as a host.  An io_context ends when no work is outstanding, and every operation counts as work: so the wait for
// tulp's descriptor, which is always under way, is counted off while tulp has nothing to do.
#include <tulp/asio/event_loop.hpp>
#include <tulp/error.hpp>
#include <tulp/loop_host.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "hosts/host.hpp"

namespace tulp::asio {
namespace {

namespace ba = boost::asio;
using boost::system::error_code;

/// An io_context runs one handler at a time; so many, at most, stand for an iteration.
constexpr int handlers_per_iteration = 64;

class Host;

/// What handlers hold on to, who may be called when the host has gone.
struct Ear {
  Host* host;
  alignas(
      std::max_align_t) std::array<std::byte, 256> memory{};  // for one operation, so that waiting allocates nothing
  bool is_memory_taken = false;
};

template <class T>
class EarAllocator {
 public:
  using value_type = T;
  explicit EarAllocator(Ear& ear) noexcept : ear_(&ear) {}
  template <class U>
  EarAllocator(const EarAllocator<U>& other) noexcept : ear_(other.ear()) {}

  T* allocate(std::size_t count) {
    if (ear_->is_memory_taken || count * sizeof(T) > ear_->memory.size()) return std::allocator<T>().allocate(count);
    ear_->is_memory_taken = true;
    return reinterpret_cast<T*>(ear_->memory.data());
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    if (reinterpret_cast<std::byte*>(memory) != ear_->memory.data())
      return std::allocator<T>().deallocate(memory, count);
    ear_->is_memory_taken = false;
  }
  Ear* ear() const noexcept { return ear_; }
  friend bool operator==(const EarAllocator& a, const EarAllocator& b) noexcept { return a.ear_ == b.ear_; }

 private:
  Ear* ear_;
};

/// The handler of the wait for tulp's descriptor.
struct OnReadable {
  using allocator_type = EarAllocator<std::byte>;
  allocator_type get_allocator() const noexcept { return allocator_type(*ear); }
  void operator()(const error_code& error) const;
  std::shared_ptr<Ear> ear;
};

class Host final : public LoopHost {
 public:
  explicit Host(ba::io_context& context) : context_(context) {}
  explicit Host(std::unique_ptr<ba::io_context> own) : own_(std::move(own)), context_(*own_) {}
  ~Host() override {
    ear_->host = nullptr;
    let_go();
  }

  ba::io_context& context() const noexcept { return context_; }

  void watch(int fd) override {
    if (fd < 0) return let_go();
    ba::posix::stream_descriptor next(context_, fd);
    let_go();
    descriptor_ = std::move(next);
  }

  void plan(Plan plan) noexcept override {
    if (!descriptor_.is_open()) return;
    if (!is_waiting_) wait_for_descriptor();
    if (plan.delay > Duration::zero())
      set_timer(plan.delay);
    else if (!is_driven())
      post_turn();
    count_as_work(plan.has_more_to_do);
  }

  void iterate(RunMode mode) override {
    if (context_.stopped()) context_.restart();
    was_called_ = false;
    do {
      was_in_vain_ = false;
      if ((mode == RunMode::wait ? context_.run_one() : context_.poll_one()) == 0) return;
    } while (was_in_vain_);
    for (int i = 1; i < handlers_per_iteration && !was_called_ && context_.poll_one() != 0; ++i) {
    }
  }

  /// The descriptor can be read.
  void hear() noexcept {
    count_as_work(true);  // as the handler's end counts it off
    is_waiting_ = false;
    call();
  }

 private:
  void wait_for_descriptor() {
    is_waiting_ = true;
    descriptor_.async_wait(ba::posix::stream_descriptor::wait_read, OnReadable{ear_});
  }

  /// One that is set for an earlier time stays, and wakes the loop once in vain.
  void set_timer(Duration delay) {
    if (delay.is_never()) {
      if (std::exchange(is_timing_, false)) timer_.cancel();
      return;
    }
    const TimePoint due = after(std::chrono::steady_clock::now(), delay);
    if (is_timing_ && timer_.expiry() <= due) return;
    is_timing_ = true;
    timer_.expires_at(due);
    timer_.async_wait([ear = ear_](const error_code& error) {
      if (ear->host == nullptr) return;
      if (error == ba::error::operation_aborted) {
        ear->host->was_in_vain_ = true;
        return;
      }
      ear->host->is_timing_ = false;
      ear->host->call();
    });
  }

  void post_turn() {
    if (std::exchange(is_turn_posted_, true)) return;
    ba::post(context_, [ear = ear_] {
      if (ear->host == nullptr) return;
      ear->host->is_turn_posted_ = false;
      ear->host->was_in_vain_ = ear->host->is_driven();  // it was planned before that began
      ear->host->turn();
    });
  }

  void call() noexcept {
    was_called_ = true;
    turn();
  }

  /// A context that has run out of work is stopped, and has to be restarted before it runs again; which is whose business
  /// it is who runs it, but not if it has not run yet.
  void count_as_work(bool is_work) noexcept {
    if (std::exchange(is_work_, is_work) == is_work) return;
    const auto executor = context_.get_executor();
    if (is_work) return executor.on_work_started();
    const bool was_stopped = context_.stopped();
    executor.on_work_finished();
    if (!was_stopped && !executor.running_in_this_thread()) context_.restart();
  }

  void let_go() noexcept {
    if (!descriptor_.is_open()) return;
    count_as_work(true);
    descriptor_.release();  // and not close
    is_waiting_ = false;
    timer_.cancel();
    is_timing_ = false;
  }

  const std::unique_ptr<ba::io_context> own_;
  ba::io_context& context_;
  const std::shared_ptr<Ear> ear_ = std::make_shared<Ear>(Ear{.host = this});
  ba::posix::stream_descriptor descriptor_{context_};
  ba::steady_timer timer_{context_};
  bool is_waiting_ = false;  // for the descriptor
  bool is_timing_ = false;
  bool is_turn_posted_ = false;
  bool is_work_ = true;
  bool was_called_ = false;   // in this iteration
  bool was_in_vain_ = false;  // the last handler was of ours, and about nothing
};

void OnReadable::operator()(const error_code& error) const {
  if (ear->host != nullptr && error != ba::error::operation_aborted) ear->host->hear();
}

}  // namespace

std::unique_ptr<EventLoop> new_event_loop(ba::io_context& host, LoopOptions options) {
  return new_event_loop_in(std::make_unique<Host>(host), options);
}

std::unique_ptr<EventLoop> new_event_loop(LoopOptions options) {
  return new_event_loop_in(std::make_unique<Host>(std::make_unique<ba::io_context>(1)), options);
}

ba::io_context& host_of(EventLoop& loop) { return hosts::expect_host<Host>(loop, "Boost.Asio").context(); }

std::unique_ptr<EventLoop> EventLoopPolicy::new_event_loop(const LoopOptions& options) {
  return asio::new_event_loop(options);
}

}  // namespace tulp::asio
