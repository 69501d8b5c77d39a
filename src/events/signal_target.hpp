// SignalTarget: where the process's signal handler leaves word of a signal.  Floor 3, events.
#pragma once
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tulp::detail {

/// One for each loop that watches signals: a pipe, into which the signal handler writes a byte for each signal.  The
/// handler touches nothing else, and it may run at any moment, in any thread: so a target is never destroyed and its
/// descriptors never closed; all wait for the next loop that needs one.
class SignalTarget {
 public:
  static constexpr int highest_signal = 64;

  /// Throws: OsError - no descriptor.
  static SignalTarget& acquire();
  void release() noexcept;

  /// Readable when a signal has arrived.
  int fd() const noexcept { return reading_end_; }
  static constexpr std::size_t most_at_once = 512;
  using Arrivals = std::array<unsigned char, most_at_once + highest_signal>;
  /// The numbers of the signals that have arrived, in that order, at the beginning of `memory`.  fd() stays readable if
  /// there are more.  Of those that a full pipe did not take, each number comes once.
  std::span<const unsigned char> take(Arrivals& memory) noexcept;

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
  SignalTarget(int reading_end, int writing_end) noexcept : reading_end_(reading_end), writing_end_(writing_end) {}
  static void on_signal(int signal) noexcept;
  void arrive(int signal) noexcept;
  /// Number 0 only wakes the loop.  False if the pipe is full.
  bool write(int number) noexcept;

  static std::atomic<SignalTarget*> first_;
  SignalTarget* next_ = nullptr;  // set once, before the target can be seen
  const int reading_end_;
  const int writing_end_;
  bool is_acquired_ = false;  // guarded by the mutex in signal_target.cpp
  std::atomic<std::uint64_t> watched_ = 0;
  std::atomic<std::uint64_t> missed_ = 0;  // by the pipe, which was full
  std::atomic<bool> ends_at_second_interrupt_ = false;
  std::atomic<int> interrupt_count_ = 0;
};

}  // namespace tulp::detail
