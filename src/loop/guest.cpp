// The loop as a guest: somebody else waits for it, a host that was made for that, or the program by itself.
#include <stdexcept>

#include <tulp/error.hpp>

#include "loop/selector_event_loop.hpp"

namespace tulp {

// Where the program waits.

int SelectorEventLoop::backend_fd() {
  check_not_forked();
  if (is_closed()) throw InvalidStateError("the event loop is closed");
  if (host_ != nullptr) throw InvalidStateError("this event loop has a host, which waits for its descriptor");
  const int fd = selector_->fd();
  if (fd < 0)
    throw InvalidStateError("this event loop waits in a way that has no descriptor; epoll and kqueue have one");
  if (!std::exchange(is_guest_, true) && !is_running()) leave_to_who_waits();
  return fd;
}

Duration SelectorEventLoop::next_timeout() const {
  if (is_closed() || belongs_to_parent()) return Duration::max();
  return inbox_.empty() ? time_to_wait() : Duration::zero();
}

/// Before anybody looks whether something has come, so that nothing can come in between unseen.
void SelectorEventLoop::leave_to_who_waits() noexcept {
  if ((!is_guest_ && host_ == nullptr) || belongs_to_parent()) return;
  is_asleep_.store(true, std::memory_order_seq_cst);
  if (host_ != nullptr) give_host_a_plan();
}

/// Of what comes between two iterations, in this thread.  Once: they look at everything in the next one.
void SelectorEventLoop::tell_who_waits() noexcept {
  if (!is_asleep_.load(std::memory_order_relaxed) || belongs_to_parent()) return;
  if (!is_asleep_.exchange(false, std::memory_order_seq_cst)) return;
  if (host_ != nullptr)
    host_->plan({.delay = Duration::zero(), .has_more_to_do = true});
  else
    wake_up_.ring();
}

// Where a host does.

/// What the program would miss if the host ended now.
bool SelectorEventLoop::has_more_to_do() const noexcept {
  return !ready_.empty() || !inbox_.empty() || !timers_.empty() || has_tasks() || is_expecting_post() ||
         waits_for_descriptors();
}

void SelectorEventLoop::move_into_host() {
  if (selector_->fd() < 0)
    throw std::invalid_argument("an event loop in a host has to wait by epoll or kqueue, which have a descriptor");
  host_->watch(selector_->fd());
  host_->guest_ = this;
  leave_to_who_waits();
}

SelectorEventLoop::Driving::Driving(SelectorEventLoop& loop) : loop_(loop) {
  if (loop.host_ == nullptr) return;
  loop.host_->enter();
  loop.drives_host_ = true;
}

SelectorEventLoop::Driving::~Driving() {
  if (loop_.host_ == nullptr) return;
  loop_.drives_host_ = false;
  loop_.host_->leave();
}

std::size_t SelectorEventLoop::wait_in_host(Duration timeout) {
  host_->plan({.delay = timeout, .has_more_to_do = true});
  host_->iterate(timeout > Duration::zero() ? RunMode::wait : RunMode::nowait);
  if (belongs_to_parent()) return 0;  // something of the host's has forked, and this is the child
  return selector_->wait(Duration::zero(), events_);
}

void SelectorEventLoop::run_in_host() noexcept {
  try {
    const RunScope running(*this, &ready_);
    const Awake awake(*this);
    const Watchdog::Run watched(watchdog_);
    iterate(RunMode::nowait);
    is_stopping_ = false;
  } catch (...) {
    if (host_ != nullptr) host_->watch(-1);  // or it would go wrong for ever
    call_exception_handler(
        {.message = "the event loop cannot be run in its host, and leaves it", .exception = std::current_exception()});
  }
}

void SelectorEventLoop::give_host_a_plan() noexcept {
  host_->plan({.delay = next_timeout(), .has_more_to_do = drives_host_ || has_more_to_do()});
}

void SelectorEventLoop::leave_host() noexcept {
  if (host_ == nullptr) return;
  host_->guest_ = nullptr;
  host_->watch(-1);
}

/// In a forked child.  If the host is being iterated, that ends, and so does the loop's iteration.
void SelectorEventLoop::forget_host() noexcept {
  if (host_ == nullptr) return;
  host_->guest_ = nullptr;
  static_cast<void>(host_.release());
  drives_host_ = false;
  batch_limit_ = 0;
}

void LoopHost::turn() noexcept {
  if (guest_ != nullptr && !guest_->is_running()) guest_->run_in_host();
}

void LoopHost::plan_anew() noexcept {
  if (guest_ != nullptr) guest_->give_host_a_plan();
}

Duration LoopHost::next_timeout() const noexcept {
  return guest_ != nullptr ? guest_->next_timeout() : Duration::max();
}

bool LoopHost::is_driven() const noexcept { return guest_ != nullptr && guest_->drives_host(); }

std::unique_ptr<EventLoop> new_event_loop_in(std::unique_ptr<LoopHost> host, LoopOptions options) {
  return make_selector_event_loop(options, std::move(host));
}

LoopHost* host_of(EventLoop& loop) noexcept {
  const auto* concrete = dynamic_cast<const SelectorEventLoop*>(&loop);
  return concrete != nullptr ? concrete->host() : nullptr;
}

}  // namespace tulp
