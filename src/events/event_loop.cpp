#include <tulp/event_loop.hpp>

#include <pthread.h>

#include <cstdlib>
#include <cstring>

#include <tulp/error.hpp>

#include "events/fd_callbacks.hpp"
#include "events/live_loops.hpp"
#include "events/signal_handlers.hpp"

namespace tulp {
namespace {

[[gnu::tls_model("initial-exec")]] constinit thread_local EventLoop* running_loop = nullptr;

}  // namespace

EventLoop* get_running_loop() noexcept { return running_loop; }

EventLoop::EventLoop() {
  const char* text = std::getenv("TULP_DEBUG");
  remember_live_loop(*this);
  is_debug_ = text != nullptr && *text != '\0' && std::strcmp(text, "0") != 0;
}

EventLoop::~EventLoop() { forget_live_loop(*this); }

EventLoop::RunScope::RunScope(EventLoop& loop) : loop_(loop) {
  if (loop.is_closed_) throw_closed();
  if (loop.is_running_) throw InvalidStateError("this event loop is already running");
  if (running_loop != nullptr) throw InvalidStateError("another event loop is running in this thread");
  // pthread_cancel would unwind whatever stack the thread stands on, a fiber's too.
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &thread_cancel_state_);
  loop.thread_ = std::this_thread::get_id();
  loop.is_running_ = true;
  running_loop = &loop;
}

EventLoop::RunScope::~RunScope() {
  running_loop = nullptr;
  loop_.is_running_ = false;
  ::pthread_setcancelstate(thread_cancel_state_, nullptr);
}

void EventLoop::destroy_services() noexcept {
  while (!services_.empty()) {
    const auto service = std::move(services_.back().service);
    services_.pop_back();
  }
}

void EventLoop::throw_closed() { throw InvalidStateError("the event loop is closed"); }

void EventLoop::check_usable_slowly() const {
  if (is_closed_) throw_closed();
  if (is_debug_ && is_running_ && thread_ != std::this_thread::get_id())
    throw InvalidStateError("called from a thread that does not run this event loop; use call_soon_threadsafe");
}

detail::LoopService* EventLoop::find_service(const void* key) const noexcept {
  for (const ServiceEntry& entry : services_)
    if (entry.key == key) return entry.service.get();
  return nullptr;
}

void EventLoop::add_fd_callback(int fd, Direction direction, detail::UniqueFunction<void()> callback) {
  check_usable();
  service<detail::FdCallbacks>().add(fd, direction, std::move(callback));
}

bool EventLoop::remove_fd_callback(int fd, Direction direction) {
  return !is_closed_ && service<detail::FdCallbacks>().remove(fd, direction);
}

void EventLoop::add_signal_callback(int signal, detail::UniqueFunction<void()> callback) {
  check_usable();
  service<detail::SignalHandlers>().add(signal, std::move(callback));
}

bool EventLoop::remove_signal_handler(int signal) {
  return !is_closed_ && service<detail::SignalHandlers>().remove(signal);
}

bool EventLoop::remove_reader(int fd) { return remove_fd_callback(fd, Direction::read); }
bool EventLoop::remove_writer(int fd) { return remove_fd_callback(fd, Direction::write); }

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
