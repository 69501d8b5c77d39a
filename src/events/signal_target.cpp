#include "events/signal_target.hpp"

#include <fcntl.h>
#include <pthread.h>

#include <cerrno>
#include <mutex>
#include <string>
#include <utility>

#include <tulp/error.hpp>

#include "base/forkable_mutex.hpp"
#include "base/sys.hpp"

namespace tulp::detail {
namespace {

ForkableMutex mutex;  // over who watches what; the signal handler does not take it
int watcher_count[SignalTarget::highest_signal + 1];
struct sigaction former_action[SignalTarget::highest_signal + 1];

/// Before the first target there is nothing that a child could have to leave.
void watch_for_forks() {
  static const int unused = ::pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                                             [] {
                                               mutex.reset();
                                               SignalTarget::leave_to_parent();
                                             });
  static_cast<void>(unused);
}

constexpr std::uint64_t bit_of(int signal) { return std::uint64_t{1} << (signal - 1); }

}  // namespace

constinit std::atomic<SignalTarget*> SignalTarget::first_ = nullptr;

SignalTarget& SignalTarget::acquire() {
  watch_for_forks();
  const std::lock_guard lock(mutex);
  for (SignalTarget* target = first_; target != nullptr; target = target->next_) {
    if (target->is_acquired_) continue;
    target->is_acquired_ = true;
    for (Arrivals stale; !target->take(stale).empty();) {
    }
    return *target;
  }
  int ends[2];
  if (sys.pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_os_error(errno, "pipe for signals");
  auto* target = new SignalTarget(ends[0], ends[1]);
  target->is_acquired_ = true;
  target->next_ = first_;
  first_ = target;
  return *target;
}

void SignalTarget::release() noexcept {
  for (int signal = 1; signal <= highest_signal; ++signal) unwatch(signal);
  end_process_at_second_interrupt(false);
  const std::lock_guard lock(mutex);
  is_acquired_ = false;
}

std::span<const unsigned char> SignalTarget::take(Arrivals& memory) noexcept {
  const ssize_t got = retry_on_eintr([&] { return sys.read(reading_end_, memory.data(), most_at_once); });
  std::size_t count = got > 0 ? static_cast<std::size_t>(got) : 0;
  if (count == most_at_once) {  // what was missed comes behind the rest, of which there may be none
    if (missed_ != 0) write(0);
    return {memory.data(), count};
  }
  std::uint64_t missed = missed_.exchange(0);
  for (unsigned char signal = 1; missed != 0; ++signal, missed >>= 1)
    if ((missed & 1) != 0) memory[count++] = signal;
  return {memory.data(), count};
}

void SignalTarget::watch(int signal) {
  const std::lock_guard lock(mutex);
  if ((watched_ & bit_of(signal)) != 0) return;
  if (watcher_count[signal] == 0) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    if (sys.sigaction(signal, &action, &former_action[signal]) != 0)
      throw InvalidStateError("signal " + std::to_string(signal) + " cannot be caught");
  }
  ++watcher_count[signal];
  watched_ |= bit_of(signal);
}

void SignalTarget::unwatch(int signal) noexcept {
  const std::lock_guard lock(mutex);
  if ((watched_ & bit_of(signal)) == 0) return;
  watched_ &= ~bit_of(signal);
  if (--watcher_count[signal] == 0) sys.sigaction(signal, &former_action[signal], nullptr);
}

void SignalTarget::leave_to_parent() noexcept {
  for (int signal = 1; signal <= highest_signal; ++signal)
    if (std::exchange(watcher_count[signal], 0) > 0) sys.sigaction(signal, &former_action[signal], nullptr);
  for (SignalTarget* target = first_.exchange(nullptr); target != nullptr; target = target->next_)
    for (const int fd : {target->reading_end_, target->writing_end_}) sys.close(fd);
}

void SignalTarget::end_process_at_second_interrupt(bool is_on) noexcept {
  interrupt_count_ = 0;
  ends_at_second_interrupt_ = is_on;
}

void SignalTarget::on_signal(int signal) noexcept {
  const int error_number = errno;
  for (SignalTarget* target = first_; target != nullptr; target = target->next_) target->arrive(signal);
  errno = error_number;
}

void SignalTarget::arrive(int signal) noexcept {
  if ((watched_ & bit_of(signal)) == 0) return;
  if (signal == SIGINT && ends_at_second_interrupt_ && ++interrupt_count_ > 1) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);  // delivered when the handler returns
    return;
  }
  if (write(signal)) return;
  missed_ |= bit_of(signal);
  write(0);  // wakes the loop if it has emptied the pipe meanwhile
}

bool SignalTarget::write(int number) noexcept {
  const auto byte = static_cast<unsigned char>(number);
  return sys.write(writing_end_, &byte, 1) == 1;
}

}  // namespace tulp::detail
