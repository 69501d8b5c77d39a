// SignalTarget: where the process's signal handler leaves word of a signal.  Floor 3, events.
#pragma once
#include <atomic>
#include <csignal>
#include <cstdint>

#include "base/wake_up.hpp"

namespace tulp::detail {

/// One for each loop that watches signals.  The signal handler touches nothing else, and it may run at any moment, in any
/// thread: so a target is never destroyed and its descriptor never closed; both wait for the next loop that needs one.
class SignalTarget {
 public:
  static constexpr int highest_signal = 64;

  /// Throws: OsError - no descriptor.
  static SignalTarget& acquire();
  void release() noexcept;

  /// Readable when a signal has arrived.
  int fd() const noexcept { return wake_up_.fd(); }
  /// The signals that have arrived since the last call, signal n as bit n - 1.
  std::uint64_t take() noexcept;

  /// Throws: InvalidStateError - the signal cannot be caught.
  void watch(int signal);
  /// Gives the signal its former disposition back if no other target watches it.
  void unwatch(int signal) noexcept;

  /// In a process that has just been forked: gives every signal its former disposition back, and forgets all targets,
  /// whose descriptors are the parent's too.
  static void leave_to_parent() noexcept;

  /// While set, a second SIGINT before clear() ends the process at once, even if the loop is stuck.
  void end_process_at_second_interrupt(bool is_on) noexcept;

 private:
  static void on_signal(int signal) noexcept;
  void arrive(int signal) noexcept;

  static std::atomic<SignalTarget*> first_;
  SignalTarget* next_ = nullptr;  // set once, before the target can be seen
  WakeUp wake_up_;
  bool is_acquired_ = false;  // guarded by the mutex in signal_target.cpp
  std::atomic<std::uint64_t> watched_ = 0;
  std::atomic<std::uint64_t> arrived_ = 0;
  std::atomic<bool> ends_at_second_interrupt_ = false;
  std::atomic<int> interrupt_count_ = 0;
};

}  // namespace tulp::detail
