// Hold: keeps time from jumping while somebody outside is at work.  Floor 9, testing.
#pragma once
#include <tulp/event_loop.hpp>

#include <utility>

namespace tulp::testing {

/// While one lives, the time of a test loop does not jump: the loop waits, in real time, for as long as it takes.  For
/// work of which the loop cannot know: the program's own threads, other processes.  What the library itself does outside
/// the loop (names, executors) is waited for without one.
/// Thread: made on the loop's thread; moved and dropped on any, after what that thread posts.  May outlive the loop.
class Hold {
 public:
  explicit Hold(EventLoop& loop = get_event_loop());
  Hold(Hold&& other) noexcept : release_(std::exchange(other.release_, nullptr)) {}
  Hold& operator=(Hold&& other) noexcept {
    Hold former(std::move(other));
    std::swap(release_, former.release_);
    return *this;
  }
  ~Hold();

 private:
  class Release;
  Release* release_;
};

}  // namespace tulp::testing
