// SignalHandlers: the signals that a loop watches, as ordinary callbacks.  Floor 3, events.
#pragma once
#include <tulp/event_loop.hpp>

#include <array>

#include "events/repeated_callback.hpp"
#include "events/signal_target.hpp"

namespace tulp::detail {

/// Stands on the loop's descriptors alone, so that every loop has signals.
class SignalHandlers final : public LoopService, private Runnable {
 public:
  explicit SignalHandlers(EventLoop& loop);
  ~SignalHandlers() override;

  /// What a handler is for: the program's work, or to watch over it, which keeps no loop going.
  enum class Purpose : std::uint8_t { work, watching };
  void add(int signal, const void* created_at, UniqueFunction<void()> function, Purpose purpose = Purpose::work);
  bool remove(int signal) noexcept;
  /// The first Ctrl-C is a callback as any; the second one, if it comes before release, ends the process.
  SignalTarget& target() noexcept { return lease_.target; }

 private:
  class Arrival;
  void run() noexcept override;
  void set_purpose(int signal, bool is_work) noexcept;

  /// For as long as the loop watches signals.
  struct Lease {
    Lease() : target(SignalTarget::acquire()) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { target.release(); }
    SignalTarget& target;
  };

  EventLoop& loop_;
  Lease lease_;
  FdWatch watch_;
  std::array<RepeatedCallback*, SignalTarget::highest_signal + 1> callbacks_{};
  std::uint64_t working_ = 0;  // a bit for each signal whose handler does the program's work
};

}  // namespace tulp::detail
