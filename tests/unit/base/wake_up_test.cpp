#include "base/wake_up.hpp"

#include <tulp/error.hpp>

#include <poll.h>
#include <sys/eventfd.h>

#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
/// Once with an eventfd, once where the system has none.
struct WakeUpTest {
  WakeUpTest() {
    static bool has_eventfd;
    has_eventfd = GENERATE(true, false);
    sys.eventfd = [](unsigned start, int flags) {
      return has_eventfd ? ::eventfd(start, flags) : (errno = ENOSYS, -1);
    };
  }
  ~WakeUpTest() { sys = original; }

  static bool is_heard(const WakeUp& wake_up) {
    pollfd polled{wake_up.fd(), POLLIN, 0};
    return ::poll(&polled, 1, 0) == 1;
  }

  const SystemCalls original = sys;
};
}  // namespace

TEST_CASE_METHOD(WakeUpTest, "a ring makes the descriptor readable until it is drained, and draining never waits") {
  const WakeUp wake_up;
  CHECK_FALSE(is_heard(wake_up));
  for (int round = 0; round < 2; ++round) {
    wake_up.ring();
    CHECK(is_heard(wake_up));
    CHECK(is_heard(wake_up));
    wake_up.drain();
    CHECK_FALSE(is_heard(wake_up));
    wake_up.drain();
  }
}

TEST_CASE_METHOD(WakeUpTest, "a hundred thousand rings wait for nothing, are heard, and are drained at once") {
  const WakeUp wake_up;
  for (int i = 0; i < 100'000; ++i) wake_up.ring();
  CHECK(is_heard(wake_up));
  wake_up.drain();
  CHECK_FALSE(is_heard(wake_up));
}

TEST_CASE_METHOD(WakeUpTest, "interrupted calls are made again") {
  const WakeUp wake_up;
  static int interruptions;
  interruptions = 2;
  static SystemCalls real;
  real = original;
  sys.write = [](int fd, const void* data, size_t size) {
    return interruptions-- > 0 ? (errno = EINTR, -1) : real.write(fd, data, size);
  };
  wake_up.ring();
  CHECK(is_heard(wake_up));
  interruptions = 2;
  sys.read = [](int fd, void* into, size_t size) {
    return interruptions-- > 0 ? (errno = EINTR, -1) : real.read(fd, into, size);
  };
  wake_up.drain();
  CHECK_FALSE(is_heard(wake_up));
}

TEST_CASE("a wake-up whose descriptors cannot be had throws OsError and leaks nothing") {
  const std::size_t fds = open_fd_count();
  const SystemCalls original = sys;
  sys.eventfd = [](unsigned, int) { return errno = EMFILE, -1; };
  CHECK_THROWS_AS(WakeUp(), OsError);
  sys.eventfd = [](unsigned, int) { return errno = ENOSYS, -1; };
  sys.pipe2 = [](int*, int) { return errno = EMFILE, -1; };
  CHECK_THROWS_AS(WakeUp(), OsError);
  sys = original;
  CHECK(open_fd_count() == fds);
}
