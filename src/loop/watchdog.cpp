#include "loop/watchdog.hpp"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>

#include <tulp/detail/task_control.hpp>
#include <tulp/error.hpp>

#include "base/code_address.hpp"
#include "base/log.hpp"
#include "base/sys.hpp"
#include "fiber/fiber.hpp"

namespace tulp {
namespace {

/// Ignored where nobody handles it, so that one that comes late does no harm.
constexpr int watch_signal = SIGURG;
struct sigaction previous_action;

/// The watchdog that has sent the signal and waits for the answer.  One at a time, by the mutex.
std::atomic<Watchdog*> asking = nullptr;
std::mutex one_asks;

}  // namespace

// The loop's side.

Watchdog::Watchdog(Duration limit) : limit_(limit) {
  take_over_signal();
  ::sem_init(&answered_, 0, 0);
  // The thread takes the mutex first, and thus sees end_.
  const std::lock_guard lock(mutex_);
  const int error = start_joinable_thread(
      "tulp-watchdog", [](void* self) { static_cast<Watchdog*>(self)->watch(); }, this);
  if (error == 0) return;
  ::sem_destroy(&answered_);
  throw_os_error(error, "starting a thread for the watchdog");
}

Watchdog::~Watchdog() {
  std::unique_lock lock(mutex_);
  is_ending_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return end_.has_value(); });
  lock.unlock();
  end_->wait();
  ::sem_destroy(&answered_);
}

void Watchdog::enter() {
  {
    const std::lock_guard lock(mutex_);
    loop_thread_ = ::pthread_self();
  }
  resume();
}

/// The thread may end from now on, and no signal be sent to it.
void Watchdog::leave() {
  rest();
  const std::lock_guard lock(mutex_);
  loop_thread_.reset();
}

void Watchdog::wake() noexcept {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

// The handler, on the loop's thread.

void Watchdog::on_signal(int signal, siginfo_t* info, void* machine_context) {
  const int error_number = errno;
  if (Watchdog* watchdog = asking.exchange(nullptr)) {
    watchdog->note_sample();
    ::sem_post(&watchdog->answered_);
  } else if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, machine_context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  }
  errno = error_number;
}

void Watchdog::note_sample() noexcept {
  sample_ = {};
  sample_.frame_count = capture_interrupted_stack(sample_.frames);
  if (const detail::TaskControl* task = detail::running_task()) {
    std::array<char, 64> buffer;
    const FiberLabel label = task->label(buffer);
    std::copy_n(label.name.begin(), std::min(label.name.size(), sample_.task.size() - 1), sample_.task.begin());
    sample_.created_at = label.created_at;
  }
}

void Watchdog::take_over_signal() {
  [[maybe_unused]] static const bool once = [] {
    std::array<const void*, 4> warm_up;
    capture_call_stack(warm_up);  // whatever that loads, it does not load it in the handler
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sys.sigaction(watch_signal, &action, &previous_action);
    return true;
  }();
}

// The watchdog's thread.

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  std::uint64_t reported = 0;
  const auto limit =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(limit_.seconds()));
  while (!is_ending_) {
    const std::uint64_t beat = beat_.load(std::memory_order_seq_cst);
    if (!is_busy(beat)) {
      is_dozing_.store(true, std::memory_order_seq_cst);
      changed_.wait(lock, [&] { return is_ending_ || beat_.load(std::memory_order_seq_cst) != beat; });
      is_dozing_.store(false, std::memory_order_seq_cst);
      continue;
    }
    changed_.wait_for(lock, limit, [this] { return is_ending_; });
    if (is_ending_ || !is_stuck_at(beat) || beat == reported || !take_sample()) continue;
    if (!is_stuck_at(beat)) continue;  // what has been seen is something else
    reported = beat;
    lock.unlock();
    report();
    lock.lock();
  }
  end_.emplace(ThreadEnd::of_this_thread());
  changed_.notify_all();
}

/// Under the mutex, so that the loop's thread stays.  False if it does not answer: it may have blocked the signal.
bool Watchdog::take_sample() {
  if (!loop_thread_) return false;
  const std::lock_guard only(one_asks);
  asking.store(this);
  if (::pthread_kill(*loop_thread_, watch_signal) != 0) return asking.store(nullptr), false;
  timespec end{};
  ::clock_gettime(CLOCK_REALTIME, &end);
  ++end.tv_sec;
  while (::sem_timedwait(&answered_, &end) != 0) {
    if (errno == EINTR) continue;
    if (asking.exchange(nullptr) == this) return false;
    end.tv_sec += 60;  // it has begun to answer
  }
  return true;
}

void Watchdog::report() noexcept {
  try {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.3g", limit_.seconds());
    std::string text = std::string("tulp: the event loop has been held up for more than ") + seconds + " s by ";
    text += sample_.task[0] != '\0' ? "task '" + std::string(sample_.task.data()) + "'" : "a callback";
    if (sample_.created_at != nullptr) text += ", created at " + describe_code_address(sample_.created_at);
    text += '\n';
    log(text + describe_call_stack("at", {sample_.frames.data(), sample_.frame_count}));
  } catch (const std::bad_alloc&) {  // there is nobody to tell
  }
}

}  // namespace tulp
