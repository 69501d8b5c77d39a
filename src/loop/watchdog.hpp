// Watchdog: says what holds up a loop, while it does.  Floor 7, loop.
#pragma once
#include <tulp/duration.hpp>

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "base/call_stack.hpp"
#include "base/thread.hpp"

namespace tulp {

/// A thread that looks from time to time whether the loop has gone on.  If it has not for longer than the limit, it sends
/// the loop's thread a signal, whose handler notes the stack, and gives that to the log.  While the loop sleeps, so does
/// the watchdog.
class Watchdog {
 public:
  /// Throws: OsError - there is no thread to be had.
  explicit Watchdog(Duration limit);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

  /// While one lives, this thread runs the loop.  After a fork, in the child, there is no watchdog any more.
  class Run {
   public:
    explicit Run(const std::unique_ptr<Watchdog>& watchdog) : watchdog_(watchdog) {
      if (watchdog_ != nullptr) watchdog_->enter();
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() {
      if (watchdog_ != nullptr) watchdog_->leave();
    }

   private:
    const std::unique_ptr<Watchdog>& watchdog_;
  };

  // For the loop's thread: the loop is about to wait, and has waited.
  void rest() noexcept { beat_.store(beat_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst); }
  void resume() noexcept {
    rest();
    if (is_dozing_.load(std::memory_order_seq_cst)) wake();
  }

 private:
  /// What the signal handler has seen.
  struct Sample {
    std::array<const void*, most_frames> frames;
    std::size_t frame_count = 0;
    std::array<char, 128> task{};  // its name; empty in a callback
    const void* created_at = nullptr;
  };

  static constexpr bool is_busy(std::uint64_t beat) noexcept { return beat % 2 != 0; }
  static void on_signal(int signal, siginfo_t* info, void* machine_context);
  static void take_over_signal();

  void enter();
  void leave();
  void wake() noexcept;
  void watch();
  bool is_stuck_at(std::uint64_t beat) const noexcept { return beat_.load(std::memory_order_relaxed) == beat; }
  bool take_sample();
  void note_sample() noexcept;
  void report() noexcept;

  const Duration limit_;
  std::atomic<std::uint64_t> beat_ = 0;  // odd while the loop is at work
  std::atomic<bool> is_dozing_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_ending_ = false;
  std::optional<pthread_t> loop_thread_;
  sem_t answered_;
  Sample sample_;
  std::optional<ThreadEnd> end_;
};

}  // namespace tulp
