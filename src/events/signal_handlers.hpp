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

  void add(int signal, const void* created_at, UniqueFunction<void()> function);
  bool remove(int signal) noexcept;
  /// The first Ctrl-C is a callback as any; the second one, if it comes before release, ends the process.
  SignalTarget& target() noexcept { return lease_.target; }

 private:
  class Arrival;
  void run() noexcept override;

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
};

}  // namespace tulp::detail
