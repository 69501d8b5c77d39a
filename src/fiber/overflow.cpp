#include "fiber/overflow.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/code_address.hpp"
#include "base/sys.hpp"
#include "fiber/fiber.hpp"

namespace tulp {
namespace {

constexpr std::array watched = {SIGSEGV, SIGBUS};  // macOS reports a guard page as SIGBUS
std::array<struct sigaction, watched.size()> previous_actions;

/// A line put together without allocating.
class SignalSafeLine {
 public:
  SignalSafeLine& operator<<(std::string_view text) noexcept {
    const std::size_t fits = std::min(text.size(), sizeof buffer_ - size_);
    std::memcpy(buffer_ + size_, text.data(), fits);
    size_ += fits;
    return *this;
  }
  SignalSafeLine& operator<<(std::size_t number) noexcept {
    char digits[24];
    char* at = std::end(digits);
    do *--at = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    return *this << std::string_view(at, static_cast<std::size_t>(std::end(digits) - at));
  }
  SignalSafeLine& hexadecimal(std::uintptr_t number) noexcept {
    char digits[2 * sizeof number];
    char* at = std::end(digits);
    do *--at = "0123456789abcdef"[number % 16];
    while ((number /= 16) != 0);
    return *this << "0x" << std::string_view(at, static_cast<std::size_t>(std::end(digits) - at));
  }
  void write() noexcept {
    [[maybe_unused]] const auto result = ::write(STDERR_FILENO, buffer_, size_);
    size_ = 0;
  }

 private:
  char buffer_[512];
  std::size_t size_ = 0;
};

/// Writes where `address` lies in the source.  That takes memory and locks, which the interrupted code may hold: so a
/// child does it, with a copy of the memory and two seconds to live.
bool write_place_in_child(const void* address) noexcept {
  // Not fork(): with several threads that takes malloc's locks.
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (child < 0) return false;
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    ::signal(SIGALRM, SIG_DFL);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::alarm(2);
    const std::string place = describe_code_address(address);
    [[maybe_unused]] const auto result = ::write(STDERR_FILENO, place.data(), place.size());
    ::_exit(0);
  }
  int status = 0;
  return retry_on_eintr([&] { return ::waitpid(child, &status, 0); }) == child && status == 0;
}

void report(const Fiber& fiber) noexcept {
  std::array<char, 64> buffer;
  const FiberLabel label = fiber.label(buffer);
  SignalSafeLine line;
  line << "tulp: stack overflow in task '" << label.name << "', whose stack has "
       << (fiber.stack().size_bytes + 1023) / 1024 << " KiB (TaskOptions.stack_size_bytes or "
       << "TULP_STACK_SIZE gives more), created at ";
  line.write();
  if (!write_place_in_child(label.created_at)) line.hexadecimal(reinterpret_cast<std::uintptr_t>(label.created_at));
  line << "\n";
  line.write();
}

void on_fault(int signal, siginfo_t* info, void* machine_context) {
  const auto index = static_cast<std::size_t>(std::find(watched.begin(), watched.end(), signal) - watched.begin());
  const struct sigaction& previous = previous_actions[index];
  const Fiber* fiber = flow_thread.running;
  const bool is_overflow = fiber != nullptr && fiber->stack().guard_contains(info->si_addr);
  if (is_overflow) report(*fiber);
  if (!is_overflow && (previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, machine_context);
  } else if (!is_overflow && previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    sys.sigaction(signal, &previous, nullptr);  // the faulting instruction runs again, and this time it counts
    if (info->si_code <= 0) ::raise(signal);    // unless there is none, because somebody sent the signal
  }
}

void take_over_signals() noexcept {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < watched.size(); ++i) sys.sigaction(watched[i], &action, &previous_actions[i]);
}

/// The alternate signal stack of a thread, from its first fiber to its end.  Large, because the child of a report
/// reads debug information on it; untouched pages cost nothing.
class AlternateStack {
 public:
  AlternateStack() noexcept {
    stack_t present{};
    if (::sigaltstack(nullptr, &present) != 0 || (present.ss_flags & SS_DISABLE) == 0) return;
    void* memory = sys.mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return;  // an overflow then ends without the message
    memory_ = memory;
    set(memory_, 0);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;
  ~AlternateStack() {
    if (memory_ == nullptr) return;
    set(nullptr, SS_DISABLE);
    sys.munmap(memory_, size);
  }

 private:
  static constexpr std::size_t size = 512 * 1024;
  static void set(void* memory, int flags) noexcept {
    stack_t stack{};
    stack.ss_sp = memory;
    stack.ss_size = size;
    stack.ss_flags = flags;
    ::sigaltstack(&stack, nullptr);
  }
  void* memory_ = nullptr;
};

}  // namespace

void watch_for_overflow() noexcept {
  static const bool once = (take_over_signals(), true);
  thread_local const AlternateStack alternate_stack;
  static_cast<void>(once);
  static_cast<void>(alternate_stack);
}

}  // namespace tulp
