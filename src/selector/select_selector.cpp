// select(2): everywhere, and linear in the highest descriptor.  Three facts shape its use here.  An fd_set has FD_SETSIZE
// bits, and FD_SET writes beside it for a descriptor above them, so such a one is refused.  One descriptor that was closed
// behind our back fails the whole call, so those are looked for and reported by themselves, as poll(2) does.  And the third
// set stays empty: urgent data would keep it ready for as long as nobody reads them, and errors are in the other two.
#include <fcntl.h>
#include <sys/select.h>

#include <array>
#include <cerrno>
#include <string>

#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "selector/selector.hpp"

namespace tulp {
namespace {

constexpr int descriptor_limit = FD_SETSIZE;

class SelectSelector final : public Selector {
 public:
  SelectSelector() {
    FD_ZERO(&watched_);
    FD_ZERO(&reading_);
    FD_ZERO(&writing_);
  }

  void add(int fd, Interest interest, Trigger, std::uint64_t token) override {
    check_watchable(fd, "select");
    const std::string operation = "select of descriptor " + std::to_string(fd);
    if (fd >= descriptor_limit)
      throw_os_error(EMFILE, operation + " (it holds only those below " + std::to_string(descriptor_limit) + ")");
    if (is_in(watched_, fd)) throw_os_error(EEXIST, operation);
    FD_SET(fd, &watched_);
    if (fd >= end_) end_ = fd + 1;
    modify(fd, interest, token);
  }

  bool modify(int fd, Interest interest, std::uint64_t token) noexcept override {
    if (!is_watched(fd)) return true;
    tokens_[static_cast<std::size_t>(fd)] = token;
    put(fd, reading_, interest.read);
    put(fd, writing_, interest.write);
    return true;
  }

  void remove(int fd) noexcept override {
    if (!is_watched(fd)) return;
    modify(fd, {}, 0);
    FD_CLR(fd, &watched_);
    while (end_ > 0 && !is_in(watched_, end_ - 1)) --end_;
  }

  std::size_t wait(Duration timeout, std::span<SelectorEvent> events) override {
    fd_set readable = reading_, writable = writing_, closed;
    FD_ZERO(&closed);
    int ready = select(readable, writable, timeout);
    if (ready < 0 && errno == EBADF) {
      readable = reading_;
      writable = writing_;
      take_out_closed(readable, writable, closed);
      ready = select(readable, writable, Duration::zero());
    }
    if (ready < 0) {
      if (errno != EINTR && errno != EBADF) throw_os_error(errno, "select");
      FD_ZERO(&readable);
      FD_ZERO(&writable);
    }
    std::size_t count = 0;
    // Begins where the last call ended, so that with more ready than fit each gets its turn.
    for (int seen = 0; seen < end_ && count < events.size(); ++seen) {
      if (++last_ >= end_) last_ = 0;
      const bool is_closed = is_in(closed, last_);
      const SelectorEvent event{.token = tokens_[static_cast<std::size_t>(last_)],
                                .readable = is_closed || is_in(readable, last_),
                                .writable = is_closed || is_in(writable, last_),
                                .exceptional = is_closed};
      if (event.readable || event.writable) events[count++] = event;
    }
    return count;
  }

 private:
  int select(fd_set& readable, fd_set& writable, Duration timeout) const noexcept {
    const std::int64_t microseconds = (bounded(timeout).nanoseconds() + 999) / 1000;
    timeval time{static_cast<decltype(timeval::tv_sec)>(microseconds / 1'000'000),
                 static_cast<decltype(timeval::tv_usec)>(microseconds % 1'000'000)};
    return sys.select(end_, &readable, &writable, nullptr, timeout.is_never() ? nullptr : &time);
  }

  void take_out_closed(fd_set& readable, fd_set& writable, fd_set& closed) const noexcept {
    for (int fd = 0; fd < end_; ++fd) {
      if (!is_in(readable, fd) && !is_in(writable, fd)) continue;
      if (sys.fcntl(fd, F_GETFD, 0) >= 0) continue;
      put(fd, closed, true);
      put(fd, readable, false);
      put(fd, writable, false);
    }
  }

  bool is_watched(int fd) const noexcept { return fd >= 0 && fd < descriptor_limit && is_in(watched_, fd); }
  static bool is_in(const fd_set& set, int fd) noexcept { return FD_ISSET(fd, &set) != 0; }
  static void put(int fd, fd_set& set, bool is_member) noexcept {
    if (is_member)
      FD_SET(fd, &set);
    else
      FD_CLR(fd, &set);
  }

  fd_set watched_, reading_, writing_;
  std::array<std::uint64_t, descriptor_limit> tokens_{};
  int end_ = 0;   // above the highest descriptor that is watched
  int last_ = 0;  // the one that was looked at last
};

}  // namespace

std::unique_ptr<Selector> make_select_selector() { return std::make_unique<SelectSelector>(); }

}  // namespace tulp
