// Selector: waits until descriptors are ready.  Floor 2, selector.
//
// One small interface over what systems offer.  epoll is the best of Linux and kqueue of the BSDs; poll and select are
// everywhere.  A loop asks the selector itself whether it reports edges, and lives with both answers.
// shell_selector.cpp says what a new one owes.
#pragma once
#include <tulp/duration.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace tulp {

namespace detail {
class Ring;
}

struct SelectorEvent {
  std::uint64_t token = 0;  // what add() or modify() was given
  bool readable = false;
  bool writable = false;
  bool exceptional =
      false;  // hang-up, error, the peer's half-close, urgent data, as far as the system tells them apart
};

class Selector {
 public:
  /// `once`: is reported once, then not before the next modify() or add().  For descriptors that the program may close at
  /// any time: where the system can tell, nothing of another file that gets the number is taken for the former one's.
  enum class Trigger : std::uint8_t { level, edge, once };
  struct Interest {
    bool read = false;
    bool write = false;
    bool hang_up = false;  // and error, if nothing else; a selector that cannot tell them from the rest passes it over
  };

  virtual ~Selector() = default;

  /// Whether Trigger::edge is really that.  A selector that says no treats it as level.
  virtual bool has_edges() const noexcept { return false; }
  /// A descriptor that can be read when wait() would find something; -1 if there is none.
  virtual int fd() const noexcept { return -1; }
  /// What receives and sends by itself; null if it only tells when that can be done.
  virtual detail::Ring* ring() noexcept { return nullptr; }
  /// Counts what that has sent, and told somebody of.
  virtual std::uint64_t ring_progress() const noexcept { return 0; }

  /// Throws: OsError - the descriptor is not open, cannot be waited for, or a limit is reached.
  virtual void add(int fd, Interest interest, Trigger trigger, std::uint64_t token) = 0;
  /// For a descriptor that was added with Trigger::level or once, or to a selector without edges.  False if the selector
  /// has found that the number is another file's by now, which is what it watches from then on.
  virtual bool modify(int fd, Interest interest, std::uint64_t token) noexcept = 0;
  /// To be called before the descriptor is closed; afterwards it is harmless.  One that was added with Trigger::once may
  /// be reported once more after it, with the token that it had.
  virtual void remove(int fd) noexcept = 0;
  /// In place of remove() for one of Trigger::edge, if the descriptor is closed at once.  If it has a duplicate all the
  /// same, as in a forked child, it may still be reported, with the token that it had.
  virtual void forget(int fd) noexcept { remove(fd); }

  /// Forgets everything that was added, also what was closed and could not be removed; false if it takes a new selector to
  /// do that.
  virtual bool start_over() { return false; }

  /// Does at once what it would do with the next wait(), which may be a long time off.
  virtual void push() noexcept {}

  /// Waits until something is ready or `timeout` has passed, never shorter; a signal ends the wait early.  Fills `events`
  /// and returns how many; each descriptor at most once.
  virtual std::size_t wait(Duration timeout, std::span<SelectorEvent> events) = 0;
};

/// One of those that this system has.
struct SelectorChoice {
  std::string_view name;
  std::unique_ptr<Selector> (*make)();
};
/// The best first.
std::span<const SelectorChoice> selector_choices() noexcept;

// Each throws OsError if the system has no descriptor left.  Which are linked in, selector_choices() says.
std::unique_ptr<Selector> make_epoll_selector();
std::unique_ptr<Selector> make_ring_selector();
std::unique_ptr<Selector> make_kqueue_selector();
std::unique_ptr<Selector> make_poll_selector();
std::unique_ptr<Selector> make_select_selector();
std::unique_ptr<Selector> make_shell_selector();  // does nothing

// For selectors.

/// `timeout` in milliseconds for poll(2) and its kin: rounded up, so that no wait is too short; -1 for ever.
int to_poll_timeout(Duration timeout) noexcept;
/// Nobody waits for longer than this in one call: systems refuse huge times, and a loop that wakes once a day more than
/// it must is idle enough.
Duration bounded(Duration timeout) noexcept;
/// Throws: OsError - `fd` is not open, or is a file or a folder.  Those would always be ready; epoll refuses them, and so
/// do all.
void check_watchable(int fd, const char* selector);

}  // namespace tulp
