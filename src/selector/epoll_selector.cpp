// epoll(7).  Two facts shape its use here.  What epoll watches is not the descriptor but the open file behind it: a
// descriptor that was duplicated keeps reporting after close(), under its old token, so a watch is removed before its
// descriptor is closed.  And EPOLLERR and EPOLLHUP are reported whether asked for or not: with level triggering and no
// interest they would spin, so a descriptor without interest is taken out of the set.
//
// With Trigger::edge a duplicate cannot spin, so where tulp closes a descriptor of its own at once it saves that call.
//
// Trigger::once is EPOLLONESHOT: what has been reported stays in the set and is quiet.  So waiting for it again takes one
// call, EPOLL_CTL_MOD, and that fails with ENOENT if the number is another file's by now: the kernel knows a watch by its
// number and its open file.  Hence nothing is taken out after a wait, and nobody has to say that he has closed it.
#include <sys/epoll.h>

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

class EpollSelector final : public Selector {
 public:
  EpollSelector() : epoll_(sys.epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) throw_os_error(errno, "epoll_create1");
  }

  bool has_edges() const noexcept override { return true; }
  int fd() const noexcept override { return epoll_.get(); }

  void add(int fd, Interest interest, Trigger trigger, std::uint64_t token) override {
    epoll_event event{};
    event.events = trigger == Trigger::edge   ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET
                   : trigger == Trigger::once ? bits_once(interest)
                                              : bits(interest);
    event.data.u64 = token;
    const bool was_left = is_left(fd) && sys.epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0;
    if (!was_left && sys.epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      throw_os_error(errno, "epoll_ctl(EPOLL_CTL_ADD) of descriptor " + std::to_string(fd));
    leave(fd, trigger == Trigger::once);
    if (trigger == Trigger::level && is_empty(interest)) remove(fd);
  }

  bool modify(int fd, Interest interest, std::uint64_t token) noexcept override {
    epoll_event event{};
    event.events = is_left(fd) ? bits_once(interest) : bits(interest);
    event.data.u64 = token;
    if (is_empty(interest)) return remove(fd), true;
    if (sys.epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0 || errno != ENOENT) return true;
    sys.epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
    return !is_left(fd);
  }

  void remove(int fd) noexcept override {
    if (is_left(fd)) return;
    epoll_event unused{};
    sys.epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, &unused);
  }

  void forget(int) noexcept override {}

  std::size_t wait(Duration timeout, std::span<SelectorEvent> events) override {
    const int capacity = static_cast<int>(std::min(events.size(), found_.size()));
    const int count = wait_for(timeout, capacity);
    if (count < 0 && errno != EINTR) throw_os_error(errno, "epoll_wait");
    for (int i = 0; i < count; ++i) {
      const epoll_event& found = found_[static_cast<std::size_t>(i)];
      const bool is_broken = (found.events & (EPOLLERR | EPOLLHUP)) != 0;
      events[static_cast<std::size_t>(i)] = {.token = found.data.u64,
                                             .readable = is_broken || (found.events & (EPOLLIN | EPOLLRDHUP)) != 0,
                                             .writable = is_broken || (found.events & EPOLLOUT) != 0,
                                             .exceptional = is_broken || (found.events & (EPOLLRDHUP | EPOLLPRI)) != 0};
    }
    return static_cast<std::size_t>(std::max(count, 0));
  }

 private:
  static bool is_empty(Interest interest) noexcept { return !interest.read && !interest.write && !interest.hang_up; }
  static std::uint32_t bits(Interest interest) noexcept {
    return (interest.read ? EPOLLIN | EPOLLRDHUP : 0U) | (interest.write ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  }

  static std::uint32_t bits_once(Interest interest) noexcept {
    return bits(interest) | (interest.read || interest.hang_up ? EPOLLPRI : 0U) | EPOLLONESHOT;
  }

  /// Whether the descriptor was added with Trigger::once, last of all, and so may be in the set.
  bool is_left(int fd) const noexcept {
    const auto number = static_cast<std::size_t>(fd);
    return number < left_.size() && left_[number];
  }
  void leave(int fd, bool is_left) {
    const auto number = static_cast<std::size_t>(fd);
    if (is_left && number >= left_.size()) left_.resize(std::max(number + 1, 2 * left_.size()));
    if (number < left_.size()) left_[number] = is_left;
  }

  /// To the nanosecond where the kernel can (Linux 5.11), else to the millisecond above.
  int wait_for(Duration timeout, int capacity) noexcept {
    if (has_pwait2_ && timeout > Duration::zero() && !timeout.is_never()) {
      const timespec spec{static_cast<time_t>(timeout.nanoseconds() / 1'000'000'000),
                          static_cast<long>(timeout.nanoseconds() % 1'000'000'000)};
      const int count = sys.epoll_pwait2(epoll_.get(), found_.data(), capacity, &spec, nullptr);
      if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
      has_pwait2_ = false;
    }
    return sys.epoll_wait(epoll_.get(), found_.data(), capacity, to_poll_timeout(timeout));
  }

  UniqueFd epoll_;
  bool has_pwait2_ = true;
  std::vector<bool> left_;  // by descriptor
  std::array<epoll_event, 512> found_;
};

}  // namespace

std::unique_ptr<Selector> make_epoll_selector() { return std::make_unique<EpollSelector>(); }

}  // namespace tulp
