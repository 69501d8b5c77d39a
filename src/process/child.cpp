#include "process/child.hpp"

#include <cerrno>
#include <csignal>
#include <utility>

#include <tulp/error.hpp>

#include "process/child_watcher.hpp"

namespace tulp::detail {
namespace {

constexpr auto by_pidfd = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4; glibc before 2.36 does not know it
constexpr unsigned to_whole_group = 4;               // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
constexpr int unknown_returncode = 255;              // as asyncio has it

}  // namespace

Child::Child(EventLoop& loop, StartedChild started, Group group)
    : loop_(loop), pid_(started.pid), pidfd_(std::move(started.pidfd)), group_(group) {}

std::shared_ptr<Child> Child::watch(EventLoop& loop, StartedChild started, Group group) {
  auto child = std::make_shared<Child>(loop, std::move(started), group);
  try {
    child->begin();
  } catch (...) {
    child->kill();
    siginfo_t unused;
    retry_on_eintr([&] { return sys.waitid(P_PID, static_cast<id_t>(child->pid_), &unused, WEXITED); });
    throw;
  }
  child->self_ = child;
  return child;
}

void Child::begin() {
  auto& watcher = loop_.service<ChildWatcher>();
  if (pidfd_) {
    watch_.emplace(pidfd_.get(), FdWatch::Mode::level);
    watch_->arm_before_adding(Direction::read, *this);
    try {
      loop_.add_fd(*watch_);
    } catch (...) {
      watch_.reset();
      throw;
    }
  }
  watcher.add(*this);
}

int Child::wait_for(siginfo_t& info) noexcept {
  info = {};
  if (pidfd_ && is_known_by_pidfd_) {
    const int result =
        retry_on_eintr([&] { return sys.waitid(by_pidfd, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG); });
    if (result == 0 || errno != EINVAL) return result;
    is_known_by_pidfd_ = false;
  }
  return retry_on_eintr([&] { return sys.waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG); });
}

void Child::look() noexcept {
  if (returncode_) return;
  siginfo_t info;
  const auto keep = shared_from_this();
  if (wait_for(info) == 0) {
    if (info.si_pid == 0) return;
    return end(info.si_code == CLD_EXITED ? info.si_status : -info.si_status);
  }
  end(unknown_returncode);
  loop_.call_exception_handler({.message = "somebody else has taken the end of " + name() +
                                           ": how it ended is unknown, " + std::to_string(unknown_returncode) +
                                           " stands for it"});
}

void Child::end(int returncode) noexcept {
  returncode_ = returncode;
  forget();
  if (group_ == Group::follows) pidfd_.reset();  // else it still names the group
  exited_.wake_all();
  if (exit_callback_) std::exchange(exit_callback_, nullptr)();
  self_ = nullptr;
}

void Child::forget() noexcept {
  if (std::exchange(is_about_to_end_, false)) loop_.end_expected_post();
  if (watch_) loop_.remove_fd(*watch_);
  watch_.reset();
  unlink();
}

void Child::disown() noexcept {
  forget();
  exit_callback_ = nullptr;
  if (!is_queued()) self_ = nullptr;
}

void Child::wait() {
  while (!returncode_) exited_.wait("the end of the child process");
}

// Signals.  What a pidfd names is this process and no other.  A number is as good until the process is reaped, and that is
// done by nobody but us, unless somebody in this process does what he should not.

bool Child::is_ours_by_number() const noexcept {
  siginfo_t unused;
  const int result =
      retry_on_eintr([&] { return sys.waitid(P_PID, static_cast<id_t>(pid_), &unused, WEXITED | WNOHANG | WNOWAIT); });
  if (result != 0) errno = ESRCH;
  return result == 0;
}

bool Child::tell(int result, int signal) const {
  if (result == 0) return true;
  if (errno == ESRCH) return false;
  throw_os_error(errno, "signal " + std::to_string(signal) + " to " + name());
}

bool Child::send_signal(int signal) {
  loop_.check_usable();
  if (returncode_) return false;
  const int result = try_to_signal(signal);
  if (result == 0 && signal == SIGKILL) expect_end();
  return tell(result, signal);
}

int Child::try_to_signal(int signal) noexcept {
  if (pidfd_) {
    const int result = sys.pidfd_send_signal(pidfd_.get(), signal, nullptr, 0);
    if (result == 0 || errno != ENOSYS) return result;
  }
  return is_ours_by_number() ? sys.kill(pid_, signal) : -1;
}

/// Where time is virtual it stands still until then.
void Child::expect_end() noexcept {
  if (!std::exchange(is_about_to_end_, true)) loop_.expect_post();
}

bool Child::send_signal_to_group(int signal) {
  loop_.check_usable();
  if (group_ != Group::leads) throw InvalidStateError(name() + " leads no group of its own");
  if (pidfd_) {
    const int result = sys.pidfd_send_signal(pidfd_.get(), signal, nullptr, to_whole_group);
    if (result == 0 || (errno != ENOSYS && errno != EINVAL)) return tell(result, signal);
  }
  if (returncode_) return false;
  return tell(is_ours_by_number() ? sys.kill(-pid_, signal) : -1, signal);
}

void Child::kill() noexcept {
  if (!returncode_ && try_to_signal(SIGKILL) == 0 && self_ != nullptr) expect_end();
}

}  // namespace tulp::detail
