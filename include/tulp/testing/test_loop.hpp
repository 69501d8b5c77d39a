// Test loops: event loops whose time jumps and whose accidents come from a seed.  Floor 9, testing.
//
// Part of the library tulp-testing, which only tests link.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/event_loop.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

namespace tulp::testing {

enum class Time : std::uint8_t {
  /// Stands still while anything can happen, and jumps to the next timer when nothing can: when
  /// 1. no callback and no step of a task is queued, by this thread or another one;
  /// 2. no Hold lives, and no other thread works for the loop: looks up a name, or runs what an executor was given;
  /// 3. no descriptor is ready, and, if the loop has done I/O since the last jump, none gets ready in TestOptions::settle.
  /// So no timer fires early, late or out of order, and what passes between sockets of one thread arrives first.  A chain
  /// of callbacks that never ends stops time.
  jumping,
  /// Passes as everywhere.
  real,
};

struct TestOptions {
  /// Disturbs the run by this seed: descriptors that are ready are reported in another order, and some that are not;
  /// reads and writes move less than they could, or nothing at first; what other threads post arrives later; the loop
  /// makes empty iterations.  Nothing that is promised changes: call_soon keeps its order, equal timers theirs.  The
  /// environment's TULP_SEED overrides it.  A program without other threads and processes runs the same way each time
  /// that it runs with one seed.
  std::optional<std::uint64_t> seed = {};
  Time time = Time::jumping;
  /// How long, in real time, what is on its way between sockets or pipes may take to arrive before time jumps.
  Duration settle = std::chrono::milliseconds(1);
  /// After how long in real time, with no timer left and nothing ready, a run ends with DeadlockError.
  Duration deadlock_after = std::chrono::seconds(5);
  LoopOptions loop = {};
  /// For run(): as RunOptions::drain, in the time of the loop.
  Duration drain = std::chrono::seconds(5);
};

/// Nothing can happen any more.  Thrown by whatever runs the loop; what() names the tasks and what they wait for.
class DeadlockError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The library's own loop, with the time and the accidents of `options`.  Its time begins at the same point always.
/// Throws: OsError - a descriptor or memory is missing; std::invalid_argument - TULP_SEED is not a number.
std::unique_ptr<EventLoop> new_test_loop(const TestOptions& options = {});

/// Runs `loop` for `delay` of its time: everything that becomes due, each at its own time, and what follows from it, until
/// nothing is left to do at the time to which it came.  stop() does not end that early.
/// Throws: InvalidStateError - no test loop, or one whose time is real; std::invalid_argument - a delay that is negative
/// or has no end; as EventLoop::run_forever().
void advance_time(EventLoop& loop, Duration delay);

/// Moves the clock alone, as if the thread had been busy for so long: what is due by then will run late, in its order.
/// Throws: as advance_time(), except that the loop may be running.
void skip_time(EventLoop& loop, Duration delay);

/// The seed that disturbs `loop`, if any.  Throws: InvalidStateError - it is no test loop.
std::optional<std::uint64_t> seed_of(const EventLoop& loop);
/// The seeds 1 to `count`; the one of TULP_SEED alone, if that is set.
/// Throws: std::invalid_argument - TULP_SEED is not a number.
std::vector<std::uint64_t> seeds(std::size_t count);

}  // namespace tulp::testing
