// poll(2): the same everywhere, and linear in the number of descriptors.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <unordered_map>
#include <vector>

#include <tulp/error.hpp>

#include "base/sys.hpp"
#include "selector/selector.hpp"

namespace tulp {
namespace {

class PollSelector final : public Selector {
 public:
  void add(int fd, Interest interest, Trigger, std::uint64_t token) override {
    check_watchable(fd, "poll");
    const auto [place, is_new] = positions_.try_emplace(fd, polled_.size());
    if (!is_new) throw_os_error(EEXIST, "poll of descriptor " + std::to_string(fd));
    polled_.push_back(entry(fd, interest));
    tokens_.push_back(token);
  }

  bool modify(int fd, Interest interest, std::uint64_t token) noexcept override {
    const auto found = positions_.find(fd);
    if (found == positions_.end()) return true;
    polled_[found->second] = entry(fd, interest);
    tokens_[found->second] = token;
    return true;
  }

  void remove(int fd) noexcept override {
    const auto found = positions_.find(fd);
    if (found == positions_.end()) return;
    const std::size_t hole = found->second;
    positions_.erase(found);
    if (hole + 1 != polled_.size()) {
      polled_[hole] = polled_.back();
      tokens_[hole] = tokens_.back();
      positions_[fd_of(polled_[hole])] = hole;
    }
    polled_.pop_back();
    tokens_.pop_back();
  }

  std::size_t wait(Duration timeout, std::span<SelectorEvent> events) override {
    const int ready = sys.poll(polled_.data(), polled_.size(), to_poll_timeout(timeout));
    if (ready < 0 && errno != EINTR) throw_os_error(errno, "poll");
    const std::size_t expected = std::min(static_cast<std::size_t>(std::max(ready, 0)), events.size());
    std::size_t count = 0;
    // Begins where the last call ended, so that with more ready than fit each gets its turn.
    for (std::size_t seen = 0; seen < polled_.size() && count < expected; ++seen) {
      if (++last_ >= polled_.size()) last_ = 0;
      const short found = polled_[last_].revents;
      if (found == 0) continue;
      const bool is_broken = (found & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      events[count++] = {.token = tokens_[last_],
                         .readable = is_broken || (found & (POLLIN | half_closed)) != 0,
                         .writable = is_broken || (found & POLLOUT) != 0,
                         .exceptional = is_broken || (found & (POLLPRI | half_closed)) != 0};
    }
    return count;
  }

 private:
#ifdef POLLRDHUP
  static constexpr short half_closed = POLLRDHUP;
#else
  static constexpr short half_closed = 0;
#endif

  /// A descriptor without interest is negated, so that poll passes it over: hang-up and error would else be reported
  /// again and again.
  static pollfd entry(int fd, Interest interest) noexcept {
    const int events = (interest.read ? POLLIN | half_closed : 0) | (interest.write ? POLLOUT : 0);
    return {events != 0 || interest.hang_up ? fd : -fd - 1, static_cast<short>(events), 0};
  }
  static int fd_of(const pollfd& polled) noexcept { return polled.fd >= 0 ? polled.fd : -polled.fd - 1; }

  std::vector<pollfd> polled_;
  std::vector<std::uint64_t> tokens_;  // beside polled_
  std::unordered_map<int, std::size_t> positions_;
  std::size_t last_ = 0;
};

}  // namespace

std::unique_ptr<Selector> make_poll_selector() { return std::make_unique<PollSelector>(); }

}  // namespace tulp
