// FdWatch, on every loop: what transports stand on.
#include <tulp/loop_core.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
struct Count : Runnable {
  void run() noexcept override { ++runs; }
  int runs = 0;
};

struct WatchTest : LoopTest {
  WatchTest() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    here = UniqueFd(ends[0]);
    there = UniqueFd(ends[1]);
    watch.emplace(here.get(), FdWatch::Mode::once);
    loop().add_fd(*watch);
  }
  ~WatchTest() {
    unwatch();
    here.reset();
    there.reset();
  }
  void unwatch() {
    if (watch) loop().remove_fd(*watch);
    watch.reset();
  }
  void arm(Direction d, Runnable& target) { watch->arm(loop(), d, target); }
  void write(std::size_t count = 1) { CHECK(::write(there.get(), std::string(count, 'x').data(), count) > 0); }
  void drain() {
    char buffer[4096];
    while (::read(here.get(), buffer, sizeof buffer) > 0) {
    }
  }
  /// Iterations until readiness must have been seen.
  void settle() {
    for (int i = 0; i < 3; ++i) run_once();
  }

  UniqueFd here, there;
  std::optional<FdWatch> watch;
  Count reader, writer;
};
}  // namespace

TEST_CASE_METHOD(WatchTest, "an armed direction queues its target once when it is ready, and is disarmed by that") {
  settle();  // the first report says what a fresh descriptor is ready for
  watch->would_block(Direction::read);
  arm(Direction::read, reader);
  settle();
  CHECK(reader.runs == 0);
  write();
  settle();
  CHECK(reader.runs == 1);
  CHECK_FALSE(watch->is_armed(Direction::read));
  CHECK(watch->may_try(Direction::read));
  write();
  settle();
  CHECK(reader.runs == 1);
}

TEST_CASE_METHOD(WatchTest, "arming again behind an EAGAIN hears of what comes later") {
  for (int round = 1; round <= 3; ++round) {
    drain();
    watch->would_block(Direction::read);
    arm(Direction::read, reader);
    settle();
    const int before = reader.runs;
    write();
    settle();
    CHECK(reader.runs == before + 1);
  }
}

TEST_CASE_METHOD(WatchTest, "readiness that comes while nobody is armed is remembered: trying is worth a system call") {
  settle();
  watch->would_block(Direction::read);
  CHECK_FALSE(watch->may_try(Direction::read));
  arm(Direction::read, reader);
  write();
  settle();
  CHECK(watch->may_try(Direction::read));
}

TEST_CASE_METHOD(WatchTest, "a disarmed direction queues nothing, and the directions are independent") {
  settle();
  watch->would_block(Direction::read);
  arm(Direction::read, reader);
  watch->disarm(loop(), Direction::read);
  watch->disarm(loop(), Direction::read);
  write();
  settle();
  CHECK(reader.runs == 0);
  const std::string much(1 << 16, 'x');
  while (::write(here.get(), much.data(), much.size()) > 0) {
  }
  watch->would_block(Direction::write);
  arm(Direction::write, writer);
  settle();
  CHECK(writer.runs == 0);
  char buffer[1 << 16];
  while (::read(there.get(), buffer, sizeof buffer) > 0) {
  }
  settle();
  CHECK(writer.runs == 1);
  CHECK(reader.runs == 0);
}

TEST_CASE_METHOD(WatchTest, "after hang-up a short read does not clear the hint; EAGAIN does") {
  write();
  arm(Direction::read, reader);
  ::shutdown(there.get(), SHUT_WR);
  settle();
  if (reader.runs == 0) settle();
  watch->fell_short(Direction::read);
  arm(Direction::read, reader);  // a loop without edges looks once more
  settle();
  watch->fell_short(Direction::read);
  // select cannot tell the end from bytes, and will call it readable again.
  CHECK(watch->may_try(Direction::read) == (kind() != LoopKind::select));
  watch->would_block(Direction::read);
  CHECK_FALSE(watch->may_try(Direction::read));
}

TEST_CASE_METHOD(WatchTest, "a short read clears the hint otherwise") {
  settle();
  watch->fell_short(Direction::read);
  CHECK_FALSE(watch->may_try(Direction::read));
}

TEST_CASE_METHOD(WatchTest, "after remove_fd the loop does not touch the watch, not even for events of the same poll") {
  arm(Direction::read, reader);
  write();
  unwatch();
  settle();
  CHECK(reader.runs == 0);
}

TEST_CASE_METHOD(WatchTest, "a descriptor that is watched twice, or that the user watches too, is refused") {
  FdWatch second(here.get(), FdWatch::Mode::once);
  CHECK_THROWS_AS(loop().add_fd(second), InvalidStateError);
  CHECK_THROWS_AS(loop().add_reader(here.get(), [] {}), InvalidStateError);
  CHECK_FALSE(loop().remove_reader(here.get()));
  arm(Direction::read, reader);
  write();
  settle();
  CHECK(reader.runs == 1);
}

TEST_CASE_METHOD(
    WatchTest, "whoever waits for hang-up is queued for that and not for bytes, and may be disarmed or armed to read") {
  settle();
  watch->arm_hang_up(loop(), reader);
  CHECK(watch->awaits_hang_up());
  CHECK_FALSE(watch->is_armed(Direction::read));  // or a loop that does not know better would report what is to be read
  settle();
  CHECK(reader.runs == 0);
  watch->disarm(loop(), Direction::read);
  CHECK_FALSE(watch->awaits_hang_up());
  watch->arm_hang_up(loop(), reader);
  arm(Direction::read, reader);
  CHECK(watch->is_armed(Direction::read));
  write();
  settle();
  CHECK(reader.runs == 1);
  watch->arm_hang_up(loop(), reader);
  settle();
  CHECK(reader.runs == 1);
  there.reset();
  settle();
  CHECK(reader.runs == (kind() == LoopKind::select ? 1 : 2));
  settle();
  CHECK(reader.runs == (kind() == LoopKind::select ? 1 : 2));
}

TEST_CASE_METHOD(WatchTest, "a target that stands in the queue already is not queued twice") {
  arm(Direction::read, reader);
  arm(Direction::write, reader);
  write();
  run_once();
  CHECK(reader.runs == 1);
  settle();
  CHECK(reader.runs <= 2);
}
