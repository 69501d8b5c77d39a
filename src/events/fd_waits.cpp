#include "events/fd_waits.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include <tulp/error.hpp>

#include "base/sys.hpp"

namespace tulp::detail {

struct FdWaits::Entry {
  /// Who waits in one direction.  Alone, one is queued by the watch itself; several, by this.
  struct Line final : Runnable {
    explicit Line(EventLoop& its_loop) noexcept : loop(its_loop) {}
    void wake_all() noexcept {
      waits.for_each([this](FdWait& wait) {
        if (!wait.target_.is_queued()) loop.post(wait.target_);
      });
    }
    void run() noexcept override { wake_all(); }

    EventLoop& loop;
    IntrusiveList<FdWait> waits;
  };

  Entry(EventLoop& loop, int number) noexcept : fd(number), lines{Line(loop), Line(loop)} {}
  Line& line(Direction d) noexcept { return lines[static_cast<std::size_t>(d)]; }
  bool is_empty() const noexcept { return lines[0].waits.empty() && lines[1].waits.empty(); }

  int fd;
  std::optional<FdWatch> watch;  // while somebody waits
  std::array<Line, 2> lines;
};

FdWaits::FdWaits(EventLoop& loop) noexcept : loop_(loop) {}

FdWaits::~FdWaits() {
  for (auto& entry : entries_) {
    if (entry == nullptr) continue;
    drop(*entry);
    const bool is_queued = entry->lines[0].is_queued() || entry->lines[1].is_queued();
    if (is_queued) static_cast<void>(entry.release());  // the loop's queue refers to it
  }
}

FdWaits::Entry& FdWaits::entry_of(int fd) {
  const auto number = static_cast<std::size_t>(fd);
  if (number >= entries_.size()) entries_.resize(std::max(number + 1, 2 * entries_.size()));
  auto& entry = entries_[number];
  if (entry == nullptr) entry = std::make_unique<Entry>(loop_, fd);
  return *entry;
}

void FdWaits::add(FdWait& wait) {
  if (wait.fd_ < 0) throw_os_error(EBADF, "waiting for descriptor " + std::to_string(wait.fd_));
  Entry& entry = entry_of(wait.fd_);
  if (entry.watch && entry.watch->was_replaced) drop(entry);
  if (entry.watch || !loop_.is_watched(wait.fd_)) return watch(entry, wait);
  wait.alias_ = UniqueFd(sys.fcntl(wait.fd_, F_DUPFD_CLOEXEC, 0));
  if (!wait.alias_) throw_os_error(errno, "waiting for descriptor " + std::to_string(wait.fd_));
  aliased_.reserve(aliased_.size() + 1);
  watch(entry_of(wait.alias_.get()), wait);
  aliased_.push_back(&wait);
}

void FdWaits::watch(Entry& entry, FdWait& wait) {
  const Direction direction = wait.direction();
  Entry::Line& line = entry.line(direction);
  Runnable& target = line.waits.empty() ? wait.target_ : line;
  const bool waits_for_change = wait.what_ == FdWait::For::change;
  if (entry.watch) {
    const bool has_readers = direction == Direction::read && !line.waits.empty();
    waits_for_change && !has_readers ? entry.watch->arm_hang_up(loop_, target)
                                     : entry.watch->arm(loop_, direction, target);
    if (entry.watch->was_replaced) {
      drop(entry);
      return watch(entry, wait);
    }
  } else {
    FdWatch& added = entry.watch.emplace(entry.fd, FdWatch::Mode::single);
    if (!waits_for_change) added.arm_before_adding(direction, target);
    try {
      loop_.add_fd(added);
    } catch (...) {
      entry.watch.reset();
      throw;
    }
    if (waits_for_change) added.arm_hang_up(loop_, target);
  }
  line.waits.push_back(wait);
}

void FdWaits::remove(FdWait& wait) noexcept {
  if (wait.alias_) std::erase(aliased_, &wait);
  if (wait.is_linked()) {
    Entry& entry = *entries_[static_cast<std::size_t>(wait.watched_fd())];
    wait.unlink();
    if (entry.watch->was_replaced) wait.has_gone_ = true;
    if (entry.is_empty()) {
      loop_.remove_fd(*entry.watch);
      entry.watch.reset();
    } else if (entry.line(wait.direction()).waits.empty()) {
      entry.watch->disarm(loop_, wait.direction());
    }
  }
  wait.alias_.reset();
}

void FdWaits::forget(int fd) noexcept {
  const auto number = static_cast<std::size_t>(fd);
  if (fd >= 0 && number < entries_.size() && entries_[number] != nullptr) drop(*entries_[number]);
  for (FdWait* wait : aliased_) {
    if (wait->fd_ != fd) continue;
    wait->has_gone_ = true;
    if (!wait->target_.is_queued()) loop_.post(wait->target_);
  }
}

/// All that wait are woken, and told.
void FdWaits::drop(Entry& entry) noexcept {
  if (!entry.watch) return;
  for (Entry::Line& line : entry.lines) {
    line.wake_all();
    while (!line.waits.empty()) line.waits.pop_front().has_gone_ = true;
  }
  loop_.remove_fd(*entry.watch);
  entry.watch.reset();
}

}  // namespace tulp::detail
