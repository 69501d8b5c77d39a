// LoopHost: another library's event loop, in which one of tulp's runs.  Floor 7, loop.
//
// Whoever runs tulp in a loop for which there is no library yet needs this header; libuv's is in <tulp/uv/event_loop.hpp>,
// Boost.Asio's in <tulp/asio/event_loop.hpp>, GLib's in <tulp/glib/event_loop.hpp>, a page each.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>

namespace tulp {

class SelectorEventLoop;

/// Waits in the place of tulp's loop, for that loop's one descriptor and its next timer, and runs what is the host's own
/// meanwhile.
///
/// Either of the two may be what the program runs.  While run_forever() is inside, tulp's loop calls iterate() whenever it
/// would wait by itself.  While the host runs, turn() is one iteration of tulp's loop.  What a host is told of by its
/// library ends in turn() in both cases; in the first it does nothing, since the loop looks by itself when iterate() returns.
///
/// The members that a host defines are called on the loop's thread, and not any more when the loop is closed, or in a
/// forked child.  There the host is not destroyed either: what lies behind its descriptors is the parent's too.
class LoopHost {
 public:
  LoopHost() = default;
  LoopHost(const LoopHost&) = delete;
  LoopHost& operator=(const LoopHost&) = delete;
  virtual ~LoopHost() = default;

  /// Calls turn() from now on whenever `fd` can be read, level-triggered; what was watched before is not any more.  -1 is
  /// the last call: there is nothing to watch, and nothing to plan.
  /// Throws: whatever says that the host cannot; then the former descriptor is watched still.
  virtual void watch(int fd) = 0;

  struct Plan {
    Duration delay;       ///< Zero: with the next iteration, whatever else the host has.  Duration::max(): not at all.
    bool has_more_to_do;  ///< Whether a host that ends when it has nothing left to do has to go on for tulp's loop.
  };
  /// Calls turn() once when a delay has passed; this replaces the plan that there was.  That it is early does no harm.
  virtual void plan(Plan plan) noexcept = 0;

  /// Runs what is ready in the host, once and not for as long as something is; if nothing is, and `mode` is wait, until
  /// something has come, the descriptor and the plan among it.
  virtual void iterate(RunMode mode) = 0;

  /// run_forever() begins.
  virtual void enter() {}
  /// It ends.
  virtual void leave() noexcept {}

 protected:
  /// One iteration of tulp's loop, and a new plan.  What goes wrong is reported by its exception handler.
  void turn() noexcept;
  /// For a host that wants to be sure just before it waits: a new plan.
  void plan_anew() noexcept;
  /// EventLoop::next_timeout(); Duration::max() when the loop is closed.
  Duration next_timeout() const noexcept;
  /// Whether iterate() was called by the loop, and not by the program.
  bool is_driven() const noexcept;

 private:
  friend SelectorEventLoop;
  SelectorEventLoop* guest_ = nullptr;
};

/// Makes a loop that runs in `host`, which it owns.
/// Throws: std::invalid_argument - the options, or TULP_SELECTOR, ask for a loop without a descriptor of its own (poll,
/// select, io_uring); OsError; what LoopHost::watch() throws.
std::unique_ptr<EventLoop> new_event_loop_in(std::unique_ptr<LoopHost> host, LoopOptions options = {});

/// The host that `loop` runs in; null if it has none.
LoopHost* host_of(EventLoop& loop) noexcept;

}  // namespace tulp
