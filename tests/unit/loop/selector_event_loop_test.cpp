#include "loop/selector_event_loop.hpp"

#include <tulp/task.hpp>

#include <fcntl.h>
#include <sys/select.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/cpu_time.hpp"
#include "support/loops.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
/// Counts what the loop asks the kernel.
struct CountedCalls {
  CountedCalls() {
    waits = writes = controls = 0;
    sys.epoll_wait = [](int e, epoll_event* v, int n, int t) { return ++waits, original.epoll_wait(e, v, n, t); };
    sys.epoll_pwait2 = [](int e, epoll_event* v, int n, const timespec* t, const sigset_t* m) {
      return ++waits, original.epoll_pwait2(e, v, n, t, m);
    };
    sys.poll = [](pollfd* p, nfds_t n, int t) { return ++waits, original.poll(p, n, t); };
    sys.select = [](int n, fd_set* r, fd_set* w, fd_set* e, timeval* t) {
      return ++waits, original.select(n, r, w, e, t);
    };
    sys.write = [](int fd, const void* data, size_t size) { return ++writes, original.write(fd, data, size); };
    sys.epoll_ctl = [](int e, int o, int fd, epoll_event* v) { return ++controls, original.epoll_ctl(e, o, fd, v); };
  }
  ~CountedCalls() { sys = original; }
  static inline int waits = 0, writes = 0, controls = 0;
  static inline const SystemCalls original = sys;
};

/// Instead of sleeping, the loop stops.
class FakedSleep {
 public:
  explicit FakedSleep(EventLoop& loop) {
    looked = 0;
    asked.clear();
    stop = [&loop] { loop.stop(); };
    sys.epoll_wait = [](int e, epoll_event* v, int n, int t) {
      return t != 0 ? sleep_for(milliseconds(t)) : look(original.epoll_wait(e, v, n, t));
    };
    sys.epoll_pwait2 = [](int, epoll_event*, int, const timespec* t, const sigset_t*) {
      return sleep_for(std::chrono::seconds(t->tv_sec) + std::chrono::nanoseconds(t->tv_nsec));
    };
    sys.poll = [](pollfd* p, nfds_t n, int t) {
      return t != 0 ? sleep_for(milliseconds(t)) : look(original.poll(p, n, t));
    };
    sys.select = [](int n, fd_set* r, fd_set* w, fd_set* e, timeval* t) {
      if (t != nullptr && t->tv_sec == 0 && t->tv_usec == 0) return look(original.select(n, r, w, e, t));
      for (fd_set* set : {r, w, e})
        if (set != nullptr) FD_ZERO(set);
      return sleep_for(t == nullptr ? Duration::max()
                                    : std::chrono::seconds(t->tv_sec) + std::chrono::microseconds(t->tv_usec));
    };
  }
  FakedSleep(const FakedSleep&) = delete;
  FakedSleep& operator=(const FakedSleep&) = delete;
  ~FakedSleep() { sys = original; }

  static inline std::atomic<int> looked = 0;  // without sleeping
  static inline std::vector<Duration> asked;  // for how long it would have slept

 private:
  static Duration milliseconds(int count) {
    return count < 0 ? Duration::max() : Duration(std::chrono::milliseconds(count));
  }
  static int look(int result) { return ++looked, result; }
  static int sleep_for(Duration duration) {
    asked.push_back(duration);
    stop();
    return 0;
  }
  static inline std::function<void()> stop;
  static inline const SystemCalls original = sys;
};

std::unique_ptr<EventLoop> any_loop() { return make_loop(GENERATE(LoopKind::epoll, LoopKind::poll, LoopKind::select)); }
}  // namespace

TEST_CASE("a loop waits with what was asked for, by option or else by TULP_SELECTOR, and with the best if by neither") {
  static std::string used;
  const SystemCalls original = sys;
  static SystemCalls real;
  real = original;
  sys.epoll_wait = [](int e, epoll_event* v, int n, int t) { return used = "epoll", real.epoll_wait(e, v, n, t); };
  sys.poll = [](pollfd* p, nfds_t n, int t) { return used = "poll", real.poll(p, n, t); };
  sys.select = [](int n, fd_set* r, fd_set* w, fd_set* e, timeval* t) {
    return used = "select", real.select(n, r, w, e, t);
  };
  const auto use = [](SelectorKind kind) {
    const auto loop = new_event_loop({.selector = kind});
    loop->stop();
    loop->run_forever();
    return used;
  };
  CHECK(use(SelectorKind::epoll) == "epoll");
  CHECK(use(SelectorKind::poll) == "poll");
  CHECK(use(SelectorKind::select) == "select");
  CHECK(use(SelectorKind::best) == "epoll");
  for (const std::string name : {"epoll", "poll", "select"}) {
    ::setenv("TULP_SELECTOR", name.c_str(), 1);
    CHECK(use(SelectorKind::best) == name);
    CHECK(use(SelectorKind::poll) == "poll");
  }
  for (const char* name : {"best", ""}) {
    ::setenv("TULP_SELECTOR", name, 1);
    CHECK(use(SelectorKind::best) == "epoll");
  }
  ::unsetenv("TULP_SELECTOR");
  sys = original;
}

TEST_CASE("a selector that is not there is refused in one line that names those that are") {
  const auto message = [](SelectorKind kind) -> std::string {
    try {
      new_event_loop({.selector = kind});
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  CHECK(message(SelectorKind::kqueue) ==
        "new_event_loop: there is no selector 'kqueue' here; there are epoll, poll, select, io_uring");
  ::setenv("TULP_SELECTOR", "abacus", 1);
  CHECK(message(SelectorKind::best) ==
        "TULP_SELECTOR: there is no selector 'abacus' here; there are epoll, poll, select, io_uring");
  ::unsetenv("TULP_SELECTOR");
}

TEST_CASE("where there is no eventfd, other threads wake the loop through a pipe, ten thousand times over") {
  const SystemCalls original = sys;
  sys.eventfd = [](unsigned, int) { return errno = ENOSYS, -1; };
  const auto loop = any_loop();
  int calls = 0;
  std::thread other([&] {
    for (int i = 0; i < 10'000; ++i) {
      loop->call_soon_threadsafe([&] { ++calls; });
      if (i % 100 == 0) std::this_thread::yield();
    }
    loop->call_soon_threadsafe([&] { loop->stop(); });
  });
  loop->run_forever();
  other.join();
  sys = original;
  CHECK(calls == 10'000);
}

TEST_CASE("an idle loop waits in one system call and uses no processor time") {
  const auto loop = any_loop();
  loop->call_later(100ms, [&] { loop->stop(); });
  const CountedCalls calls;
  const auto before = cpu_time();
  loop->run_forever();
  CHECK(calls.waits <= 3);
  CHECK(cpu_time() - before < 25ms);
}

TEST_CASE("an idle loop sleeps once, until its first timer is due: nothing that is parked or watched wakes it before") {
  const auto loop = any_loop();
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  loop->add_reader(ends[0], [] {});
  const Future<> never(*loop);
  loop->call_soon([&] {
    for (int i = 0; i < 100; ++i) {
      create_task([] { sleep(2h); });
      create_task([&] { await(never); });
    }
  });
  const TimePoint begin = loop->time();
  const TimerHandle timer = loop->call_later(1h, [] {});
  {
    const FakedSleep sleeps(*loop);
    loop->run_forever();
    CHECK(sleeps.looked == 1);  // for the batch that begins the tasks
    REQUIRE(sleeps.asked.size() == 1);
    CHECK(after(begin, sleeps.asked[0]) <= after(timer.when(), 1ms));
    CHECK(after(loop->time(), sleeps.asked[0]) >= timer.when());
  }
  loop->close();
  for (const int end : ends) ::close(end);
}

TEST_CASE(
    "a loop that was posted to looks once more before it sleeps, so that a stream of posts need not wake it each "
    "time") {
  const auto loop = any_loop();
  int calls = 0;
  std::thread([&] { loop->call_soon_threadsafe([&] { ++calls; }); }).join();
  const FakedSleep sleeps(*loop);
  loop->run_forever();
  CHECK(calls == 1);
  CHECK(sleeps.looked == 2);
  CHECK(sleeps.asked.size() == 1);
}

TEST_CASE(
    "a loop that spins asks again and again before it sleeps, and hears without sleeping of what comes meanwhile") {
  const auto loop = new_event_loop(
      {.selector = GENERATE(SelectorKind::epoll, SelectorKind::poll, SelectorKind::select), .spin = 10min});
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const FakedSleep sleeps(*loop);
  loop->add_reader(ends[0], [&] { loop->stop(); });
  std::atomic<bool> is_over = false;
  ssize_t written = 0;
  std::thread writer([&] {
    while (sleeps.looked < 3 && !is_over) std::this_thread::yield();
    written = ::write(ends[1], "x", 1);
  });
  loop->run_forever();
  is_over = true;
  writer.join();
  CHECK(written == 1);
  CHECK(sleeps.looked > 3);
  CHECK(sleeps.asked.empty());
  loop->close();
  for (const int end : ends) ::close(end);
}

TEST_CASE("a loop that spins sleeps all the same, after that time or until its first timer is due") {
  const auto loop = new_event_loop({.spin = 200us});
  const bool has_timer = GENERATE(false, true);
  if (has_timer) loop->call_later(1h, [] {});
  const FakedSleep sleeps(*loop);
  loop->run_forever();
  CHECK(sleeps.looked >= 1);
  REQUIRE(sleeps.asked.size() == 1);
  CHECK(sleeps.asked[0].is_never() != has_timer);
}

TEST_CASE("hand-overs between tasks cost no system call") {
  const auto loop = make_loop(LoopKind::epoll);
  loop->run_until_complete([] {
    auto other = create_task([] {
      for (int i = 0; i < 1000; ++i) sleep(0s);
    });
    const CountedCalls calls;
    for (int i = 0; i < 1000; ++i) sleep(0s);
    CHECK(calls.waits < 200);  // one for 64 batches, or 50 microseconds on a slow machine
    await(other);
  });
}

TEST_CASE("call_soon_threadsafe from the loop's own thread, or while the loop is awake, writes to no descriptor") {
  const auto loop = any_loop();
  const CountedCalls calls;
  loop->call_soon([&] {
    for (int i = 0; i < 100; ++i) loop->call_soon_threadsafe([] {});
    loop->call_soon_threadsafe([&] { loop->stop(); });
  });
  loop->run_forever();
  CHECK(calls.writes == 0);
}

TEST_CASE("arming a descriptor that is registered for life costs no system call on epoll") {
  const auto loop = make_loop(LoopKind::epoll);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  struct : Runnable {
    void run() noexcept override {}
  } target;
  {
    FdWatch watch(ends[0], FdWatch::Mode::once);
    loop->add_fd(watch);
    const CountedCalls calls;
    for (int i = 0; i < 10; ++i) {
      watch.arm(*loop, Direction::read, target);
      watch.disarm(*loop, Direction::read);
    }
    CHECK(calls.controls == 0);
    loop->remove_fd(watch);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a loop that cannot get its descriptors throws OsError and leaks nothing") {
  const std::size_t fds = open_fd_count();
  const SystemCalls original = sys;
  sys.eventfd = [](unsigned, int) {
    errno = EMFILE;
    return -1;
  };
  CHECK_THROWS_AS(new_event_loop({.selector = any_selector()}), OsError);
  sys = original;
  CHECK(open_fd_count() == fds);
}

TEST_CASE("a steady state of tasks, timers and callbacks allocates nothing but the callbacks") {
  const auto loop = any_loop();
  loop->run_until_complete([] {
    const auto spin = [] {
      for (int i = 0; i < 100; ++i) {
        sleep(0s);
        sleep(1us);
      }
    };
    auto other = create_task(spin);
    spin();
    await(std::move(other));
    auto again = create_task(spin);
    const AllocationCount allocations;
    spin();
    const auto count = allocations.count();
    if (AllocationCount::is_counting()) CHECK(count == 0);
    await(again);
  });
}

TEST_CASE("a cancelled timer leaves its structure at once, a hundred thousand of them too") {
  const auto loop = any_loop();
  auto held = std::make_shared<int>();
  std::vector<TimerHandle> handles;
  for (int i = 0; i < 100'000; ++i) handles.push_back(loop->call_later(std::chrono::hours(1 + i % 7), [held] {}));
  CHECK(held.use_count() == 100'001);
  for (auto& handle : handles) handle.cancel();
  CHECK(held.use_count() == 1);
}

TEST_CASE("a loop that has to leave a closed descriptor behind takes all others along, as soon as it can") {
  const auto loop = make_loop(LoopKind::epoll);
  int reports = 0;
  loop->set_exception_handler([&](EventLoop&, const ExceptionContext&) { ++reports; });
  int closed[2], edges[2];
  REQUIRE(::pipe2(closed, O_CLOEXEC | O_NONBLOCK) == 0);
  REQUIRE(::pipe2(edges, O_CLOEXEC | O_NONBLOCK) == 0);
  struct : Runnable {
    void run() noexcept override { ++runs; }
    int runs = 0;
  } target;
  FdWatch watch(edges[0], FdWatch::Mode::once);
  loop->add_fd(watch);
  watch.arm(*loop, Direction::read, target);
  loop->add_reader(closed[0], [] {});
  const int duplicate = ::dup(closed[0]);
  ::close(closed[0]);
  loop->remove_reader(closed[0]);
  CHECK(::write(closed[1], "x", 1) == 1);

  const auto run_once = [&] {
    loop->stop();
    loop->run_forever();
  };
  const SystemCalls original = sys;
  sys.epoll_create1 = [](int) { return errno = EMFILE, -1; };
  run_once();
  CHECK(reports == 0);
  sys = original;
  run_once();
  CHECK(reports == 1);
  run_once();
  CHECK(reports == 1);
  CHECK(target.runs == 0);
  CHECK(::write(edges[1], "x", 1) == 1);
  run_once();
  CHECK(target.runs == 1);
  std::thread other([&] {
    std::this_thread::sleep_for(1ms);
    loop->call_soon_threadsafe([&] { loop->stop(); });
  });
  loop->run_forever();
  other.join();
  loop->remove_fd(watch);
  for (const int fd : {duplicate, closed[1], edges[0], edges[1]}) ::close(fd);
}

TEST_CASE("a wait that fails throws out of run_forever, and the loop can be run again") {
  const auto loop = make_loop(LoopKind::poll);
  const SystemCalls original = sys;
  sys.poll = [](pollfd*, nfds_t, int) {
    errno = ENOMEM;
    return -1;
  };
  CHECK_THROWS_AS(loop->run_forever(), OsError);
  sys = original;
  CHECK_FALSE(loop->is_running());
  CHECK(loop->run_until_complete([] { return 2; }) == 2);
}

TEST_CASE("a loop that a signal has woken has not waited for long enough to call itself stuck") {
  static const SystemCalls original = sys;
  static std::atomic<int> interruptions;
  interruptions = 3;
  const auto loop = new_event_loop({.selector = SelectorKind::epoll});
  int report_count = 0;
  loop->set_exception_handler([&](EventLoop&, const ExceptionContext&) { ++report_count; });
  sys.epoll_pwait2 = [](int e, epoll_event* v, int n, const timespec* t, const sigset_t* m) {
    if (interruptions > 0) return --interruptions, errno = EINTR, -1;
    return original.epoll_pwait2(e, v, n, t, m);
  };
  sys.epoll_wait = [](int e, epoll_event* v, int n, int t) {
    if (t != 0 && interruptions > 0) return --interruptions, errno = EINTR, -1;
    return original.epoll_wait(e, v, n, t);
  };
  loop->run_until_complete([&] {
    Future<> posted;
    std::thread other([&] {  // for whom a loop that seems stuck has some patience
      while (interruptions > 0) std::this_thread::yield();
      loop->call_soon_threadsafe([&] { posted.set_result(); });
    });
    await(posted);
    other.join();
  });
  sys = original;
  CHECK(report_count == 0);
}

TEST_CASE("waits that are interrupted by signals end neither the wait nor the loop") {
  const auto loop = any_loop();
  static int interruptions;
  interruptions = 3;
  const SystemCalls original = sys;
  static SystemCalls real;
  real = original;
  sys.poll = [](pollfd* p, nfds_t n, int t) {
    if (--interruptions < 0) return real.poll(p, n, t);
    errno = EINTR;
    return -1;
  };
  sys.select = [](int n, fd_set* r, fd_set* w, fd_set* e, timeval* t) {
    if (--interruptions < 0) return real.select(n, r, w, e, t);
    errno = EINTR;
    return -1;
  };
  sys.epoll_pwait2 = [](int e, epoll_event* v, int n, const timespec* t, const sigset_t* m) {
    if (--interruptions < 0) return real.epoll_pwait2(e, v, n, t, m);
    errno = EINTR;
    return -1;
  };
  const TimePoint start = loop->time();
  loop->run_until_complete([] { sleep(2ms); });
  CHECK(loop->time() >= start + 2ms);
  CHECK(interruptions < 0);
  sys = original;
}
