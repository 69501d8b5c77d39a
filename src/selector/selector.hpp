// Selector: waits until descriptors are ready.  Floor 2, selector.
//
// One small interface over what systems offer.  epoll is the best of Linux; poll is everywhere; a loop asks the
// selector itself whether it reports edges, and lives with both answers.
#pragma once
#include <tulp/duration.hpp>

#include <cstdint>
#include <memory>
#include <span>

namespace tulp {

struct SelectorEvent {
  std::uint64_t token;  // what add() was given
  bool readable;
  bool writable;
  bool exceptional;  // hang-up, error, the peer's half-close, urgent data
};

class Selector {
 public:
  enum class Trigger : std::uint8_t { level, edge };
  struct Interest {
    bool read = false;
    bool write = false;
  };

  virtual ~Selector() = default;

  virtual const char* name() const noexcept = 0;
  /// Whether Trigger::edge is really that.  A selector that says no treats it as level.
  virtual bool has_edges() const noexcept { return false; }

  /// Throws: OsError - the descriptor is not open, cannot be waited for, or a limit is reached.
  virtual void add(int fd, Interest interest, Trigger trigger, std::uint64_t token) = 0;
  /// For a descriptor that was added with Trigger::level, or to a selector without edges.
  virtual void modify(int fd, Interest interest, std::uint64_t token) noexcept = 0;
  /// To be called before the descriptor is closed; afterwards it is harmless.
  virtual void remove(int fd) noexcept = 0;

  /// Waits until something is ready or `timeout` has passed, never shorter; a signal ends the wait early.  Fills `events`
  /// and returns how many; each descriptor at most once.
  virtual std::size_t wait(Duration timeout, std::span<SelectorEvent> events) = 0;
};

std::unique_ptr<Selector> make_epoll_selector();
std::unique_ptr<Selector> make_poll_selector();

/// `timeout` in milliseconds for poll(2) and its kin: rounded up, so that no wait is too short; -1 for ever.
int to_poll_timeout(Duration timeout) noexcept;

}  // namespace tulp
