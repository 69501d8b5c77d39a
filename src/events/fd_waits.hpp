// FdWaits: who waits for descriptors of the program's, any number for each.  Floor 3, events.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/event_loop.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/unique_fd.hpp"

namespace tulp::detail {

/// One who waits for one descriptor.
class FdWait : public ListHook<FdWait> {
 public:
  /// `change`: a hang-up, an error, or urgent data.
  enum class For : std::uint8_t { read, write, change };
  FdWait(Runnable& target, int fd, For what) noexcept : target_(target), fd_(fd), what_(what) {}
  int fd() const noexcept { return fd_; }
  /// The descriptor has been closed meanwhile, or its number is another file's.
  bool has_gone() const noexcept { return has_gone_; }

 private:
  friend class FdWaits;
  Direction direction() const noexcept { return what_ == For::write ? Direction::write : Direction::read; }
  int watched_fd() const noexcept { return alias_ ? alias_.get() : fd_; }

  Runnable& target_;
  int fd_;
  For what_;
  bool has_gone_ = false;
  UniqueFd alias_;  // what is watched where fd_ has an owner in the loop already
};

/// A descriptor is watched only while somebody waits for it, and nobody need tell when it is closed: so it is cheap, and
/// true of descriptors that libraries handle as they like.
class FdWaits : public LoopService {
 public:
  explicit FdWaits(EventLoop& loop) noexcept;
  ~FdWaits() override;

  /// Queues the target when the descriptor is ready, or has gone.  May do so once too often.
  /// Throws: OsError - it cannot be watched.
  void add(FdWait& wait);
  /// Before `wait` dies.
  void remove(FdWait& wait) noexcept;
  /// The descriptor is about to be closed: wakes who waits for it.
  void forget(int fd) noexcept;

 private:
  struct Entry;
  Entry& entry_of(int fd);
  void watch(Entry& entry, FdWait& wait);
  void drop(Entry& entry) noexcept;

  EventLoop& loop_;
  std::vector<std::unique_ptr<Entry>> entries_;  // by descriptor; they stay
  std::vector<FdWait*> aliased_;
};

}  // namespace tulp::detail
