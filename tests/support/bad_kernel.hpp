// BadKernel: system calls that interrupt, hesitate and fail, and yet only as a kernel may.
#pragma once
#include <sys/epoll.h>

#include <map>
#include <utility>

#include "support/net.hpp"

namespace tulp::test {

/// A table of system calls that behaves badly, and yet as a kernel may.  Whatever is cut short or put off on an
/// edge-triggered descriptor is followed by a new edge.
class BadKernel {
 public:
  BadKernel() {
    *this_one() = {};
    sys.epoll_ctl = [](int epoll, int operation, int fd, epoll_event* event) {
      if (operation == EPOLL_CTL_DEL)
        this_one()->watched.erase(fd);
      else
        this_one()->watched[fd] = {epoll, *event};
      return original.epoll_ctl(epoll, operation, fd, event);
    };
  }

  /// For a fake: the descriptor reports again whatever it is ready for.
  static void make_edge(int fd) {
    const auto found = this_one()->watched.find(fd);
    if (found == this_one()->watched.end()) return;
    auto [epoll, event] = found->second;
    if ((event.events & EPOLLET) != 0) original.epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
  }
  /// True for all but each third call.
  static bool misbehaves() { return ++this_one()->calls % 3 != 0; }
  static int calls() { return this_one()->calls; }

  static inline const SystemCalls original = sys;

 private:
  struct State {
    std::map<int, std::pair<int, epoll_event>> watched;
    int calls = 0;
  };
  static State* this_one() {
    static State state;
    return &state;
  }
  PatchedSystem patched_;
};

}  // namespace tulp::test
