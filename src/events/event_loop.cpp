#include <tulp/event_loop.hpp>

#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <tulp/error.hpp>

#include "events/fd_callbacks.hpp"
#include "events/live_loops.hpp"
#include "events/policy.hpp"
#include "events/signal_handlers.hpp"

namespace tulp {
namespace {

[[gnu::tls_model("initial-exec")]] constinit thread_local EventLoop* running_loop = nullptr;

}  // namespace

EventLoop* get_running_loop() noexcept { return running_loop; }

EventLoop::EventLoop() {
  const char* text = std::getenv("TULP_DEBUG");
  remember_live_loop(*this);
  set_debug(text != nullptr && *text != '\0' && std::strcmp(text, "0") != 0);
}

EventLoop::~EventLoop() {
  link_->cut();
  forget_event_loop(*this);
  forget_live_loop(*this);
}

// Guests.

namespace {

[[noreturn]] void refuse_to_be_a_guest() { throw InvalidStateError("this event loop cannot be run in another one"); }

}  // namespace

void EventLoop::run_once(RunMode) { refuse_to_be_a_guest(); }
int EventLoop::backend_fd() { refuse_to_be_a_guest(); }
Duration EventLoop::next_timeout() const { refuse_to_be_a_guest(); }

// Forks.

/// The services are left as they are: to end them would reset connections and wait for threads that are not here.
void EventLoop::leave_to_parent() noexcept {
  belongs_to_parent_ = true;
  is_running_ = false;
  open_queue_ = nullptr;
  update_needs_check();
  if (running_loop == this) running_loop = nullptr;
  for (ServiceEntry& entry : services_) {
    entry.service->on_fork();
    static_cast<void>(entry.service.release());
  }
  services_.clear();
  on_fork();
}

void EventLoop::check_not_forked() const {
  if (belongs_to_parent_) throw_not_ours();
}

void EventLoop::throw_not_ours() {
  throw InvalidStateError("this event loop belongs to the parent process; after fork() a child makes one of its own");
}

EventLoop::RunScope::RunScope(EventLoop& loop, RunQueue* open_queue) : loop_(loop) {
  loop.check_not_forked();
  if (loop.is_closed_) throw_closed();
  if (loop.is_running_) throw InvalidStateError("this event loop is already running");
  if (running_loop != nullptr) throw InvalidStateError("another event loop is running in this thread");
  // pthread_cancel would unwind whatever stack the thread stands on, a fiber's too.
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &thread_cancel_state_);
  loop.thread_ = std::this_thread::get_id();
  loop.is_running_ = true;
  loop.open_queue_ = open_queue;
  running_loop = &loop;
}

EventLoop::RunScope::~RunScope() {
  running_loop = nullptr;
  loop_.open_queue_ = nullptr;
  loop_.is_running_ = false;
  ::pthread_setcancelstate(thread_cancel_state_, nullptr);
}

void EventLoop::destroy_services() noexcept {
  link_->cut();
  while (!services_.empty()) {
    const auto service = std::move(services_.back().service);
    services_.pop_back();
  }
}

void EventLoop::throw_closed() { throw InvalidStateError("the event loop is closed"); }

void EventLoop::check_usable_slowly() const {
  check_not_forked();
  if (is_closed_) throw_closed();
  if (is_debug_ && is_running_ && thread_ != std::this_thread::get_id())
    throw InvalidStateError("called from a thread that does not run this event loop; use call_soon_threadsafe");
}

detail::LoopService* EventLoop::find_service(const void* key) const noexcept {
  for (const ServiceEntry& entry : services_)
    if (entry.key == key) return entry.service.get();
  return nullptr;
}

void EventLoop::add_fd_callback(int fd, Direction direction, const void* caller,
                                detail::UniqueFunction<void()> callback) {
  check_usable();
  service<detail::FdCallbacks>().add(fd, direction, caller, std::move(callback));
}

bool EventLoop::remove_fd_callback(int fd, Direction direction) {
  return is_ours() && service<detail::FdCallbacks>().remove(fd, direction);
}

void EventLoop::add_signal_callback(int signal, const void* caller, detail::UniqueFunction<void()> callback) {
  check_usable();
  service<detail::SignalHandlers>().add(signal, caller, std::move(callback));
}

bool EventLoop::remove_signal_handler(int signal) {
  return is_ours() && service<detail::SignalHandlers>().remove(signal);
}

bool EventLoop::remove_reader(int fd) { return remove_fd_callback(fd, Direction::read); }
bool EventLoop::remove_writer(int fd) { return remove_fd_callback(fd, Direction::write); }

/// The entry may destroy itself: what it is has to be asked before.
void EventLoop::run_with_watch(Runnable& entry) noexcept {
  Origin origin = entry.origin();
  const TimePoint start = time();
  entry.run();
  const Duration taken = time() - start;
  if (taken < slow_callback_duration_ || belongs_to_parent_) return;
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.3f", taken.seconds());
  call_exception_handler({.message = std::string("the event loop was held up for ") + seconds + " s",
                          .object = std::move(origin.what),
                          .created_at = origin.created_at});
}

void EventLoop::call_exception_handler(const ExceptionContext& context) noexcept {
  if (!exception_handler_) return default_exception_handler(context);
  try {
    const auto handler = exception_handler_;  // it may replace itself
    handler(*this, context);
  } catch (...) {
    default_exception_handler({.message = "the exception handler failed", .exception = std::current_exception()});
    default_exception_handler(context);
  }
}

void EventLoop::default_exception_handler(const ExceptionContext& context) noexcept { print(context); }

}  // namespace tulp
