// ChildTest: a fixture for tests of child processes, with pidfds and without.
#pragma once
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/sys.hpp"
#include "support/loops.hpp"
#include "support/net.hpp"
#include "support/process.hpp"

namespace tulp::test {

/// Runs each test twice on each kind of loop, the second time on a system that has no pidfd.  No child is left at the end.
class ChildTest : private WarmSignals, public LoopTest {
 public:
  ChildTest() : has_pidfd_(GENERATE(true, false)) {
    UNSCOPED_INFO((has_pidfd_ ? "with pidfds" : "without pidfds"));
    if (!has_pidfd_) sys.start_child = start_child_without_pidfd;
  }
  ~ChildTest() noexcept(false) {
    loop().close();
    int status = 0;
    const pid_t left = ::waitpid(-1, &status, WNOHANG);
    CHECK(left == -1);
    CHECK(errno == ECHILD);
  }

  static inline const SystemCalls original = sys;

  bool has_pidfd() const { return has_pidfd_; }

  /// Waits until the kernel says of a process that it is in this state, as in proc(5).
  static void wait_for_state(pid_t pid, char state) {
    for (int i = 0; i < 10'000; ++i) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
      const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      const std::size_t end_of_name = text.rfind(')');
      if (end_of_name != std::string::npos && text[end_of_name + 2] == state) return;
      std::this_thread::sleep_for(1ms);
    }
    FAIL("process " << pid << " did not come into state " << state);
  }

 private:
  static pid_t start_child_without_pidfd(int (*body)(void*), void* argument, void* stack_end, int* pidfd) {
    const pid_t child = original.start_child(body, argument, stack_end, pidfd);
    if (*pidfd >= 0) ::close(std::exchange(*pidfd, -1));
    return child;
  }

  bool has_pidfd_;
  PatchedSystem patched_;
};

}  // namespace tulp::test
