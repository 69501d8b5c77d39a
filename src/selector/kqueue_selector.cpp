// kqueue(2), of the BSDs and macOS.  Reading and writing are filters of their own, each with its own event, so what belongs
// to one descriptor is put together here.  A closed descriptor takes its filters with it: nothing of it is reported under
// its reused number.  EV_CLEAR makes edges; EV_EOF says that a direction has ended, with the socket's error in fflags.
#include <sys/types.h>

#include <fcntl.h>
#include <sys/event.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "base/unique_fd.hpp"
#include "selector/selector.hpp"

namespace tulp {
namespace {

class KqueueSelector final : public Selector {
 public:
  KqueueSelector() : kqueue_(sys.kqueue()) {
    if (!kqueue_) throw_os_error(errno, "kqueue");
    sys.fcntl(kqueue_.get(), F_SETFD, FD_CLOEXEC);
  }

  bool has_edges() const noexcept override { return true; }
  int fd() const noexcept override { return kqueue_.get(); }

  void add(int fd, Interest interest, Trigger trigger, std::uint64_t token) override {
    check_watchable(fd, "kqueue");
    const std::string operation = "kevent(EV_ADD) of descriptor " + std::to_string(fd);
    const auto number = static_cast<std::size_t>(fd);
    if (number >= watched_.size()) watched_.resize(std::max(number + 1, 2 * watched_.size()));
    if (watched_[number].is_watched) throw_os_error(EEXIST, operation);
    if (const int error = trigger == Trigger::edge ? add_edges(fd) : add_levels(fd, interest); error != 0) {
      remove_filters(fd);
      throw_os_error(error, operation);
    }
    watched_[number] = {.is_watched = true, .token = token};
  }

  bool modify(int fd, Interest interest, std::uint64_t token) noexcept override {
    if (!is_watched(fd)) return true;
    watched_[static_cast<std::size_t>(fd)].token = token;
    std::erase(refused_, fd);
    remove_filters(fd);
    if (add_levels(fd, interest) != 0) refused_.push_back(fd);
    return true;
  }

  void remove(int fd) noexcept override {
    if (!is_watched(fd)) return;
    remove_filters(fd);
    std::erase(refused_, fd);
    watched_[static_cast<std::size_t>(fd)] = {};
  }

  std::size_t wait(Duration timeout, std::span<SelectorEvent> events) override {
    if (!refused_.empty()) timeout = Duration::zero();
    const std::int64_t nanoseconds = bounded(timeout).nanoseconds();
    const timespec time{static_cast<time_t>(nanoseconds / 1'000'000'000),
                        static_cast<long>(nanoseconds % 1'000'000'000)};
    const int capacity = static_cast<int>(std::min(events.size(), found_.size()));
    const int found =
        sys.kevent(kqueue_.get(), nullptr, 0, found_.data(), capacity, timeout.is_never() ? nullptr : &time);
    if (found < 0 && errno != EINTR) throw_os_error(errno, "kevent");
    ++wait_number_;
    std::size_t count = 0;
    for (int i = 0; i < found; ++i) {
      const struct kevent& filter = found_[static_cast<std::size_t>(i)];
      const int fd = static_cast<int>(filter.ident);
      const bool has_ended = (filter.flags & EV_EOF) != 0;
      const bool is_broken = has_ended && filter.fflags != 0;
      SelectorEvent& event = event_of(fd, events, count);
      event.readable |= is_broken || filter.filter == EVFILT_READ;
      event.writable |= is_broken || filter.filter == EVFILT_WRITE;
      event.exceptional |= has_ended;
    }
    for (std::size_t i = 0; i < refused_.size() && count < events.size(); ++i) {
      SelectorEvent& event = event_of(refused_[i], events, count);
      event.readable = event.writable = event.exceptional = true;
    }
    return count;
  }

 private:
  struct Watched {
    bool is_watched = false;
    std::uint64_t token = 0;
    std::uint64_t wait_number = 0;  // of the wait that reported it last,
    std::size_t place = 0;          // and where among its events
  };

  bool is_watched(int fd) const noexcept {
    return fd >= 0 && static_cast<std::size_t>(fd) < watched_.size() &&
           watched_[static_cast<std::size_t>(fd)].is_watched;
  }

  /// 0, or what is wrong.  The read end of a pipe may refuse the filter for writing, and there may be something to read.
  int add_edges(int fd) noexcept {
    const int error = change(fd, EVFILT_READ, EV_ADD | EV_CLEAR);
    const int write_error = change(fd, EVFILT_WRITE, EV_ADD | EV_CLEAR);
    return error != 0 || write_error == EPIPE ? error : write_error;
  }
  int add_levels(int fd, Interest interest) noexcept {
    const int error = interest.read ? change(fd, EVFILT_READ, EV_ADD) : 0;
    return error == 0 && interest.write ? change(fd, EVFILT_WRITE, EV_ADD) : error;
  }
  void remove_filters(int fd) noexcept {
    change(fd, EVFILT_READ, EV_DELETE);
    change(fd, EVFILT_WRITE, EV_DELETE);
  }
  int change(int fd, int filter, int flags) noexcept {
    struct kevent wanted {};
    wanted.ident = static_cast<decltype(wanted.ident)>(fd);
    wanted.filter = static_cast<decltype(wanted.filter)>(filter);
    wanted.flags = static_cast<decltype(wanted.flags)>(flags);
    return sys.kevent(kqueue_.get(), &wanted, 1, nullptr, 0, nullptr) == 0 ? 0 : errno;
  }

  /// The event of `fd` among the `count` of this wait, or a new one.
  SelectorEvent& event_of(int fd, std::span<SelectorEvent> events, std::size_t& count) noexcept {
    Watched& watched = watched_[static_cast<std::size_t>(fd)];
    if (watched.wait_number != wait_number_) {
      watched.wait_number = wait_number_;
      watched.place = count++;
      events[watched.place] = {.token = watched.token};
    }
    return events[watched.place];
  }

  UniqueFd kqueue_;
  std::vector<Watched> watched_;  // by descriptor
  /// What modify() could not ask for, because the pipe's other end has gone or the descriptor was closed behind our back.
  /// Reported as ready in every wait, as poll(2) does: whoever tries hears what is wrong.
  std::vector<int> refused_;
  std::uint64_t wait_number_ = 0;
  std::array<struct kevent, 512> found_;
};

}  // namespace

std::unique_ptr<Selector> make_kqueue_selector() { return std::make_unique<KqueueSelector>(); }

}  // namespace tulp
