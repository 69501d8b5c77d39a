// Child: a process that this one has started, until nobody asks for it any more.  Floor 6, process.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/event_loop.hpp>

#include <memory>
#include <optional>
#include <string>

#include "base/unique_fd.hpp"
#include "process/child_image.hpp"

namespace tulp::detail {

/// The loop owns it until the process has been reaped.
class Child final : public std::enable_shared_from_this<Child>, public ListHook<Child>, private Runnable {
 public:
  enum class Group : std::uint8_t { leads, follows };

  /// Throws: OsError - it cannot be watched; it has been killed then.
  static std::shared_ptr<Child> watch(EventLoop& loop, StartedChild started, Group group);
  Child(EventLoop& loop, StartedChild started, Group group);
  ~Child() { forget(); }

  pid_t pid() const noexcept { return pid_; }
  const std::optional<int>& returncode() const noexcept { return returncode_; }
  bool send_signal(int signal);
  bool send_signal_to_group(int signal);
  /// As it should be; there is nobody to be told of what goes wrong.
  void kill() noexcept;

  /// Called once, in a turn of its own, when returncode() is there.
  void on_exit(UniqueFunction<void()> callback) { exit_callback_ = std::move(callback); }
  /// Parks: until there is a returncode().
  void wait();

  // For the watcher.

  /// Whether a SIGCHLD has to tell of its end.
  bool has_pidfd() const noexcept { return static_cast<bool>(pidfd_); }
  /// Reaps it if it has ended.
  void look() noexcept;
  /// Its loop is gone, and it still runs.
  void disown() noexcept;

 private:
  void run() noexcept override { look(); }
  void discard() noexcept override { self_ = nullptr; }
  void begin();
  void end(int returncode) noexcept;
  void forget() noexcept;
  bool is_ours_by_number() const noexcept;
  int wait_for(siginfo_t& info) noexcept;
  std::string name() const { return "process " + std::to_string(pid_); }
  int try_to_signal(int signal) noexcept;
  bool tell(int result, int signal) const;
  void expect_end() noexcept;

  EventLoop& loop_;
  const pid_t pid_;
  UniqueFd pidfd_;
  std::optional<FdWatch> watch_;  // of pidfd_, until the end
  const Group group_;
  bool is_known_by_pidfd_ = true;  // to waitid(2)
  bool is_about_to_end_ = false;   // it has been killed
  std::optional<int> returncode_;
  UniqueFunction<void()> exit_callback_;
  WaitQueue exited_;
  std::shared_ptr<Child> self_;  // the loop's ownership
};

}  // namespace tulp::detail
