// PollEventLoop: a whole EventLoop on one page, over poll(2), written from the public headers alone.
//
// It shows what a loop of one's own must do, and proves that nothing above the EventLoop interface needs more.  Its clock
// is real, or manual: then time stands still while anything can run, and jumps to the next timer when nothing can, so
// that an hour of timeouts passes in no time.
#pragma once
#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/loop_core.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tulp::test {

class PollEventLoop final : public EventLoop {
 public:
  enum class Clock { real, manual };

  explicit PollEventLoop(Clock clock = Clock::manual) : clock_(clock) {
    if (::pipe2(wake_up_, O_CLOEXEC | O_NONBLOCK) != 0) throw_os_error(errno, "pipe2");
  }
  ~PollEventLoop() override {
    close();
    ::close(wake_up_[0]);  // not in close(): another thread may be in post_threadsafe() still
    ::close(wake_up_[1]);
  }

  TimePoint time() const override { return clock_ == Clock::manual ? now_ : std::chrono::steady_clock::now(); }
  void advance(Duration delay) { now_ = after(now_, delay); }

  void run_forever() override {
    const RunScope running(*this);
    do {
      wait();
      while (!timers_.empty() && timers_.begin()->first.first <= time()) queue_first_timer();
      if (!ready_.empty()) ready_.begin_batch();
      while (ready_.is_in_batch() && !belongs_to_parent()) run(ready_.pop());
      run_deferred();
    } while (!is_stopping_);
    is_stopping_ = false;
    check_not_forked();
  }
  void stop() override { is_stopping_ = true; }
  void close() override {
    if (!begin_close()) return;
    destroy_services();
    inbox_.close(ready_);
    while (!timers_.empty()) queue_first_timer();
    while (!ready_.empty()) ready_.pop().discard();
    is_emptied_ = true;
  }

  void enqueue(Runnable& entry) noexcept override {
    if (is_emptied_) return entry.discard();
    if (!is_running() && !is_closed()) inbox_.take(ready_);  // what came before the run comes first
    ready_.push(entry);
  }
  bool post_threadsafe(Runnable& entry) noexcept override {
    if (!inbox_.push(entry)) return false;
    [[maybe_unused]] const auto result = ::write(wake_up_[1], "", 1);  // a full pipe wakes as well
    return true;
  }

  void start_timer(Timer& timer) override {
    timer.position = ++last_position_;
    timers_.emplace(key_of(timer), &timer);
  }
  void stop_timer(Timer& timer) noexcept override {
    if (!timer.is_scheduled()) return;
    timers_.erase(key_of(timer));
    timer.position = Timer::unscheduled;
  }

  void add_fd(FdWatch& watch) override {
    const std::string name = "descriptor " + std::to_string(watch.fd());
    if (::fcntl(watch.fd(), F_GETFD) < 0) throw_os_error(errno, "poll of " + name);
    if (!watches_.emplace(watch.fd(), &watch).second) throw InvalidStateError(name + " is watched already");
  }
  void update_fd(FdWatch&) noexcept override {}  // asked for in each wait()
  void remove_fd(FdWatch& watch) noexcept override { watches_.erase(watch.fd()); }
  bool is_watched(int fd) const noexcept override { return watches_.count(fd) != 0; }

 private:
  void on_fork() noexcept override { is_stopping_ = true; }

  using TimerKey = std::pair<TimePoint, std::size_t>;
  static TimerKey key_of(const Timer& timer) { return {timer.when(), timer.position}; }

  void queue_first_timer() noexcept {
    Timer& first = *timers_.begin()->second;
    stop_timer(first);
    if (!first.target().is_queued()) ready_.push(first.target());  // something else may have woken it first
  }

  /// Queues what descriptors and other threads have, and sleeps for it if nothing else is to do.
  void wait() {
    std::vector<pollfd> polled{{wake_up_[0], POLLIN, 0}};
    for (const auto& [fd, watch] : watches_) {
      const int events = (watch->is_armed(Direction::read) ? POLLIN | POLLRDHUP | POLLPRI : 0) |
                         (watch->is_armed(Direction::write) ? POLLOUT : 0);
      if (events != 0 || watch->awaits_hang_up()) polled.push_back({fd, static_cast<short>(events), 0});
    }
    const int count = ::poll(polled.data(), polled.size(), milliseconds_to_wait());
    for (const pollfd& found : polled) {
      if (count <= 0 || found.revents == 0 || found.fd == wake_up_[0]) continue;
      const bool is_broken = (found.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      watches_.at(found.fd)->notify(*this, {.readable = is_broken || (found.revents & (POLLIN | POLLRDHUP)) != 0,
                                            .writable = is_broken || (found.revents & POLLOUT) != 0,
                                            .exceptional = is_broken || (found.revents & (POLLPRI | POLLRDHUP)) != 0});
    }
    char drained[64];
    while (polled[0].revents != 0 && ::read(wake_up_[0], drained, sizeof drained) > 0) {
    }
    inbox_.take(ready_);
    if (jumps() && ready_.empty() && has_timer()) now_ = std::max(now_, timers_.begin()->first.first);
  }

  /// Time stands still while another thread has something for this loop.
  bool jumps() const { return clock_ == Clock::manual && !is_expecting_post(); }
  bool has_timer() const { return !timers_.empty() && timers_.begin()->first.first != TimePoint::max(); }
  int milliseconds_to_wait() const {
    if (!ready_.empty() || is_stopping_ || (jumps() && has_timer())) return 0;
    if (!has_timer() || clock_ == Clock::manual) return -1;
    const TimePoint next = timers_.begin()->first.first;
    if (next <= time()) return 0;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - time()).count();
    return static_cast<int>(std::min<std::int64_t>(left, 24 * 3600 * 1000));
  }

  Clock clock_;
  TimePoint now_ = TimePoint(std::chrono::hours(1));
  RunQueue ready_;
  Inbox inbox_;
  int wake_up_[2];
  std::map<TimerKey, Timer*> timers_;
  std::map<int, FdWatch*> watches_;
  std::size_t last_position_ = 0;
  bool is_stopping_ = false;
  bool is_emptied_ = false;
};

}  // namespace tulp::test
