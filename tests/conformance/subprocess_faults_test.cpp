// Each system call that starting a child and waiting for it takes fails once; nothing is left behind then.
#include <tulp/subprocess.hpp>

#include <sys/epoll.h>
#include <sys/mman.h>

#include <csignal>

#include "support/children.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

/// Call number `first` of one entry, and of those `count` after it, fails.
struct Plan {
  int first = 0;
  int count = 0;
  int error = 0;
  int calls = 0;
  bool strikes() {
    const int call = calls++;
    if (call < first || call - first >= count) return false;
    errno = error;
    return true;
  }
} plan;

class ProcessFaults : public ChildTest {
 public:
  /// Starts children with everything that can be asked for, while each call in turn that `put_in` makes fail does so, with
  /// each of `errors`; how many did.
  int fail_each(const std::vector<int>& errors, void (*put_in)()) {
    int failures = 0;
    for (const int error : errors) {
      for (int call = 0; fails(error, call, put_in); ++call) ++failures;
    }
    return failures;
  }

 private:
  /// False if the call was not made.
  bool fails(int error, int call, void (*put_in)()) {
    INFO("call " << call << " fails with " << error);
    return run([&] {
      const std::size_t descriptors = open_fd_count();
      const PatchedSystem patched;
      plan = {.first = call, .count = 1, .error = error};
      put_in();
      bool has_failed = false;
      try {
        Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = DEVNULL});
        process.communicate("x");
        CHECK(process.returncode() == 0);
      } catch (const OsError& failure) {
        CHECK(failure.code().value() == error);
        has_failed = true;
      }
      let_others_run(2);
      CHECK(has_failed == (plan.calls > call));
      CHECK(open_fd_count() == descriptors);
      return has_failed;
    });
  }
};

}  // namespace

TEST_CASE_METHOD(ProcessFaults, "a start for which the system has nothing left fails cleanly") {
  run([] { create_subprocess_exec({"true"}).wait(); });  // what is made once is there
  CHECK(fail_each({EMFILE, ENFILE}, [] {
          sys.pipe2 = [](int* ends, int flags) { return plan.strikes() ? -1 : original.pipe2(ends, flags); };
        }) == 4);
  CHECK(fail_each({EMFILE, EACCES}, [] {
          sys.open = [](const char* path, int flags) { return plan.strikes() ? -1 : original.open(path, flags); };
        }) == 2);
  CHECK(fail_each({ENOMEM}, [] {
          sys.mmap = [](void* hint, size_t size, int protection, int flags, int fd, off_t offset) {
            return plan.strikes() ? MAP_FAILED : original.mmap(hint, size, protection, flags, fd, offset);
          };
        }) == 1);
  CHECK(fail_each({EAGAIN, ENOMEM, EMFILE}, [] {
          static auto below = sys.start_child;
          below = sys.start_child;
          sys.start_child = [](int (*body)(void*), void* argument, void* stack_end, int* pidfd) {
            return plan.strikes() ? (*pidfd = -1) : below(body, argument, stack_end, pidfd);
          };
        }) == 3);
}

TEST_CASE_METHOD(ProcessFaults, "a pipe or a child that cannot be watched is an error, and leaves no child") {
  if (kind() != LoopKind::epoll) return;
  run([] { create_subprocess_exec({"true"}).wait(); });
  CHECK(fail_each({ENOMEM, ENOSPC}, [] {
          sys.epoll_ctl = [](int epoll, int operation, int fd, epoll_event* event) {
            return operation == EPOLL_CTL_ADD && plan.strikes() ? -1 : original.epoll_ctl(epoll, operation, fd, event);
          };
        }) == (has_pidfd() ? 6 : 4));
}

TEST_CASE_METHOD(ProcessFaults, "interrupted system calls are invisible, also to those who wait for the end") {
  const PatchedSystem patched;
  plan = {.first = 0, .count = 2, .error = EINTR};
  sys.waitid = [](idtype_t type, id_t id, siginfo_t* info, int options) {
    if (plan.strikes()) return -1;
    if (plan.calls % 3 == 0) plan.calls = 0;
    return original.waitid(type, id, info, options);
  };
  run([] {
    for (int i = 0; i < 5; ++i) CHECK(create_subprocess_shell("exit 7").wait() == 7);
    CHECK_THROWS_AS(create_subprocess_exec({"nosuch-program"}), OsError);
  });
}

TEST_CASE_METHOD(ProcessFaults, "a kernel that has pidfds, but does not know them everywhere, is good enough") {
  const PatchedSystem patched;
  sys.waitid = [](idtype_t type, id_t id, siginfo_t* info, int options) {
    return type == static_cast<idtype_t>(3) ? (errno = EINVAL, -1) : original.waitid(type, id, info, options);
  };
  sys.pidfd_send_signal = [](int, int, siginfo_t*, unsigned) { return errno = ENOSYS, -1; };
  run([] {
    Process process = create_subprocess_exec({"sleep", "1000"}, {.process_group = 0});
    CHECK(process.send_signal_to_group(SIGTERM));
    CHECK(process.wait() == -SIGTERM);
    CHECK_FALSE(process.send_signal_to_group(SIGTERM));
    Process other = create_subprocess_exec({"sleep", "1000"});
    CHECK(other.kill());
    CHECK(other.wait() == -SIGKILL);
  });
}

TEST_CASE_METHOD(ProcessFaults, "a process that may not be signalled is an error that says which") {
  const PatchedSystem patched;
  run([&] {
    Process process = create_subprocess_exec({"cat"}, {.stdin_ = PIPE});
    sys.pidfd_send_signal = [](int, int, siginfo_t*, unsigned) { return errno = EPERM, -1; };
    sys.kill = [](pid_t, int) { return errno = EPERM, -1; };
    try {
      process.terminate();
      CHECK(false);
    } catch (const OsError& error) {
      CHECK_THAT(error.what(),
                 Catch::Equals("signal 15 to process " + std::to_string(process.pid()) + ": Operation not permitted"));
    }
    process.communicate();
  });
}
