#include <tulp/posix.hpp>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/sys.hpp"
#include "events/policy.hpp"
#include "posix/blocking_call.hpp"
#include "posix/fd_park.hpp"
#include "posix/time.hpp"
#include "tasks/fd.hpp"

namespace tulp {
namespace detail {
namespace {

constexpr std::chrono::milliseconds signal_check_interval{20};

/// What a call on several descriptors waits for.
struct Wanted {
  int fd;
  bool read;
  bool write;
};

/// Calls `look()` until it is not 0, or the time is over.  `add_all(add)` calls `add(Wanted)` for each descriptor.
class ManyCall {
 public:
  ManyCall(TaskControl& me, const char* function, Duration limit, bool hears_signals) noexcept
      : me_(me), function_(function), hears_signals_(hears_signals) {
    end_ = limit.is_never() ? TimePoint::max() : after(me.loop().time(), limit);
    is_late_ = limit <= Duration::zero();
  }

  template <class Look, class AddAll>
  int run(Look look, AddAll add_all) {
    for (int fruitless_waits = 0;; ++fruitless_waits) {
      const int result = hears_signals_ ? look() : retry_on_eintr(look);
      if (result != 0 || is_late_) return result;
      throw_if_cancelled();
      if (fruitless_waits > most_fruitless_waits) pause();
      wait(add_all);
    }
  }
  Duration time_left() const {
    return end_ == TimePoint::max() ? Duration::max() : std::max(Duration(end_ - me_.loop().time()), Duration::zero());
  }

 private:
  static constexpr int most_fruitless_waits = 3;

  /// Something is ready, but not for what is asked for.
  void pause() { sleep(std::min(Duration(pause_.next()), time_left())); }

  template <class AddAll>
  void wait(AddAll add_all) {
    FdPark park(me_, function_);
    bool can_watch_all = true;
    add_all([&](const Wanted& wanted) {
      try {
        if (wanted.read) park.add(wanted.fd, FdWait::For::read);
        if (wanted.write) park.add(wanted.fd, FdWait::For::write);
        if (!wanted.read && !wanted.write) park.add(wanted.fd, FdWait::For::change);
      } catch (const OsError&) {
        can_watch_all = false;
      }
    });
    TimePoint until = end_;
    if (hears_signals_ || !can_watch_all) until = std::min(until, after(me_.loop().time(), signal_check_interval));
    is_late_ = !park.wait_until(until) && until == end_;
  }

  TaskControl& me_;
  const char* function_;
  bool hears_signals_;
  bool is_late_;
  TimePoint end_;
  RetryPause pause_;
};

template <class Look>
int poll_in(TaskControl& me, std::span<const pollfd> fds, Duration limit, bool hears_signals, Look look) {
  return ManyCall(me, "poll", limit, hears_signals).run(look, [&](auto add) {
    for (const pollfd& polled : fds)
      if (polled.fd >= 0)
        add(Wanted{polled.fd, (polled.events & (POLLIN | POLLRDNORM | POLLRDHUP)) != 0,
                   (polled.events & (POLLOUT | POLLWRNORM)) != 0});
  });
}

/// A set of descriptors as select(2) takes it, of whatever size.
class Set {
 public:
  Set(fd_set* set, int end) : set_(set), bits_(set != nullptr ? word_count(end) : 0) { save(); }
  bool contains(int fd) const noexcept {
    return !bits_.empty() && (bits_[word_of(fd)] >> (static_cast<unsigned>(fd) % bits_per_word) & 1) != 0;
  }
  void restore() noexcept {
    if (!bits_.empty()) std::memcpy(set_, bits_.data(), bits_.size() * sizeof(unsigned long));
  }

 private:
  static constexpr std::size_t bits_per_word = 8 * sizeof(unsigned long);
  static std::size_t word_of(int fd) noexcept { return static_cast<std::size_t>(fd) / bits_per_word; }
  static std::size_t word_count(int end) noexcept { return end > 0 ? word_of(end - 1) + 1 : 0; }
  void save() noexcept {
    if (!bits_.empty()) std::memcpy(bits_.data(), set_, bits_.size() * sizeof(unsigned long));
  }
  fd_set* set_;
  std::vector<unsigned long> bits_;
};

int select_in(TaskControl& me, int end, fd_set* readable, fd_set* writable, fd_set* exceptional, Duration limit,
              const sigset_t* mask, Duration* time_left) {
  Set read(readable, end), write(writable, end), except(exceptional, end);
  ManyCall call(me, "select", limit, mask != nullptr);
  const auto look = [&] {
    constexpr timespec now{};
    read.restore();
    write.restore();
    except.restore();
    return sys.pselect(end, readable, writable, exceptional, &now, mask);
  };
  const int result = call.run(look, [&](auto add) {
    for (int fd = 0; fd < end; ++fd) {
      const Wanted wanted{fd, read.contains(fd), write.contains(fd)};
      if (wanted.read || wanted.write || except.contains(fd)) add(wanted);
    }
  });
  if (time_left != nullptr) *time_left = call.time_left();
  return result;
}

struct EventRoom {
  epoll_event* events;
  int capacity;
};

int epoll_in(TaskControl& me, int epoll, EventRoom room, Duration limit, const sigset_t* mask) {
  return ManyCall(me, "epoll_wait", limit, mask != nullptr)
      .run([&] { return sys.epoll_pwait(epoll, room.events, room.capacity, 0, mask); },
           [&](auto add) {
             add(Wanted{epoll, true, false});
           });
}

}  // namespace
}  // namespace detail

using detail::park_or_block;
using detail::TaskControl;

int posix::poll(pollfd* fds, nfds_t count, int timeout_milliseconds) {
  const auto plain = [&] { return sys.poll(fds, count, timeout_milliseconds); };
  if (timeout_milliseconds == 0) return plain();
  return park_or_block("poll", plain, [&](TaskControl& me) {
    const Duration limit =
        timeout_milliseconds < 0 ? Duration::max() : Duration(std::chrono::milliseconds(timeout_milliseconds));
    return detail::poll_in(me, {fds, count}, limit, false, [&] { return sys.poll(fds, count, 0); });
  });
}

int posix::ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  const auto plain = [&] { return sys.ppoll(fds, count, timeout, mask); };
  if (timeout != nullptr && !detail::is_valid(*timeout)) return plain();
  return park_or_block("poll", plain, [&](TaskControl& me) {
    const Duration limit =
        timeout == nullptr ? Duration::max() : detail::to_duration(timeout->tv_sec, timeout->tv_nsec);
    return detail::poll_in(me, {fds, count}, limit, mask != nullptr, [&] {
      constexpr timespec now{};
      return sys.ppoll(fds, count, &now, mask);
    });
  });
}

int posix::select(int end, fd_set* readable, fd_set* writable, fd_set* exceptional, timeval* timeout) {
  const auto plain = [&] { return sys.select(end, readable, writable, exceptional, timeout); };
  if (end < 0 || (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_usec < 0))) return plain();
  return park_or_block("select", plain, [&](TaskControl& me) {
    if (timeout == nullptr)
      return detail::select_in(me, end, readable, writable, exceptional, Duration::max(), nullptr, nullptr);
    Duration left = detail::to_duration(timeout->tv_sec, 1000 * timeout->tv_usec);
    const int result = detail::select_in(me, end, readable, writable, exceptional, left, nullptr, &left);
    const std::int64_t microseconds = left.nanoseconds() / 1000;
    timeout->tv_sec = microseconds / 1'000'000;
    timeout->tv_usec = microseconds % 1'000'000;
    return result;
  });
}

int posix::pselect(int end, fd_set* readable, fd_set* writable, fd_set* exceptional, const timespec* timeout,
                   const sigset_t* mask) {
  const auto plain = [&] { return sys.pselect(end, readable, writable, exceptional, timeout, mask); };
  if (end < 0 || (timeout != nullptr && !detail::is_valid(*timeout))) return plain();
  return park_or_block("select", plain, [&](TaskControl& me) {
    const Duration limit =
        timeout == nullptr ? Duration::max() : detail::to_duration(timeout->tv_sec, timeout->tv_nsec);
    return detail::select_in(me, end, readable, writable, exceptional, limit, mask, nullptr);
  });
}

int posix::epoll_wait(int epoll, epoll_event* events, int capacity, int timeout_milliseconds) {
  return posix::epoll_pwait(epoll, events, capacity, timeout_milliseconds, nullptr);
}

int posix::epoll_pwait(int epoll, epoll_event* events, int capacity, int timeout_milliseconds, const sigset_t* mask) {
  const auto plain = [&] { return sys.epoll_pwait(epoll, events, capacity, timeout_milliseconds, mask); };
  if (timeout_milliseconds == 0) return plain();
  return park_or_block("epoll_wait", plain, [&](TaskControl& me) {
    const Duration limit =
        timeout_milliseconds < 0 ? Duration::max() : Duration(std::chrono::milliseconds(timeout_milliseconds));
    return detail::epoll_in(me, epoll, {events, capacity}, limit, mask);
  });
}

int posix::epoll_pwait2(int epoll, epoll_event* events, int capacity, const timespec* timeout, const sigset_t* mask) {
  const auto plain = [&] { return sys.epoll_pwait2(epoll, events, capacity, timeout, mask); };
  if (timeout != nullptr && !detail::is_valid(*timeout)) return plain();
  return park_or_block("epoll_wait", plain, [&](TaskControl& me) {
    const Duration limit =
        timeout == nullptr ? Duration::max() : detail::to_duration(timeout->tv_sec, timeout->tv_nsec);
    return detail::epoll_in(me, epoll, {events, capacity}, limit, mask);
  });
}

int posix::close(int fd) {
  EventLoop* const loop = present_event_loop();
  if (loop != nullptr && !loop->is_closed() && !loop->belongs_to_parent()) detail::forget_descriptor(*loop, fd);
  return sys.close(fd);
}

}  // namespace tulp
