#include <tulp/testing/run.hpp>
#include <tulp/tulp.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "support/net.hpp"
#include "support/poll_event_loop.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;
using testing::advance_time;
using testing::DeadlockError;
using testing::Hold;
using testing::new_test_loop;
using testing::skip_time;
using testing::TestOptions;

namespace {

using RealClock = std::chrono::steady_clock;

TestOptions on_any_selector(TestOptions options = {}) {
  options.loop.selector = any_selector();
  return options;
}

/// The environment's TULP_SEED is `value`, or not there, while this lives.
class SeedVariable {
 public:
  explicit SeedVariable(const char* value) { value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name); }
  SeedVariable(const SeedVariable&) = delete;
  SeedVariable& operator=(const SeedVariable&) = delete;
  ~SeedVariable() { was_set_ ? ::setenv(name, former_.c_str(), 1) : ::unsetenv(name); }

 private:
  static constexpr const char* name = "TULP_SEED";
  bool was_set_ = ::getenv(name) != nullptr;
  std::string former_ = was_set_ ? ::getenv(name) : "";
};

/// The text of the DeadlockError that `run` throws.
template <class Run>
std::string deadlock_of(Run run) {
  try {
    run();
  } catch (const DeadlockError& error) {
    return error.what();
  }
  return "no deadlock";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

// Time that jumps.

TEST_CASE("an hour of sleeps takes no time, and is an hour to the nanosecond on the loop's clock") {
  const TestOptions options = on_any_selector();
  const auto begin = RealClock::now();
  testing::run(
      [] {
        const TimePoint start = get_event_loop().time();
        for (int i = 0; i < 3600; ++i) sleep(1s);
        CHECK(get_event_loop().time() == start + 1h);
      },
      options);
  CHECK(RealClock::now() - begin < 10s);
}

TEST_CASE("the time of each test loop begins at the same point") {
  const TimePoint first = new_test_loop()->time();
  CHECK(new_test_loop()->time() == first);
}

TEST_CASE("timers fire at their very time, in their order, equal ones in the order in which they were set") {
  const auto loop = new_test_loop(on_any_selector());
  const TimePoint start = loop->time();
  Trace trace;
  const auto note = [&](const char* what) {
    trace.push_back(std::string(what) + " at " + std::to_string((loop->time() - start) / 1ms));
  };
  loop->call_later(20ms, note, "c");
  loop->call_later(10ms, note, "a");
  loop->call_later(10ms, note, "b");
  loop->call_later(30ms, [&] { loop->stop(); });
  loop->run_forever();
  CHECK(trace == Trace{"a at 10", "b at 10", "c at 20"});
}

TEST_CASE("time stands still while anything can run") {
  const auto loop = new_test_loop(on_any_selector());
  const TimePoint start = loop->time();
  int links = 0;
  std::function<void()> chain = [&] {
    CHECK(loop->time() == start);
    if (++links < 1000) loop->call_soon(chain);
  };
  loop->call_later(1ns, [&] {
    CHECK(links == 1000);
    loop->stop();
  });
  loop->call_soon(chain);
  loop->run_forever();
}

TEST_CASE("what passes between sockets of one thread arrives before time jumps") {
  testing::run(
      [] {
        Server server = start_server(
            [](StreamReader reader, StreamWriter writer) {
              for (;;) {
                const std::string line = reader.readline();
                if (line.empty()) return;
                writer.write(line);
              }
            },
            "127.0.0.1", 0);
        auto streams = open_connection("127.0.0.1", server.addresses().front().port());
        const TimePoint start = get_event_loop().time();
        for (int i = 0; i < 200; ++i) {
          streams.writer.write("ping\n");
          CHECK(with_timeout(1ns, [&] { return streams.reader.readline(); }) == "ping\n");
        }
        CHECK(get_event_loop().time() == start);
        for (int i = 0; i < 3600; ++i) sleep(1s);  // nothing is on its way: nothing is waited for
      },
      on_any_selector());
}

TEST_CASE("an end of a connection arrives before time jumps, too") {
  testing::run(
      [] {
        const PlainListener listener;
        auto streams = open_connection("127.0.0.1", listener.port());
        Peer peer = listener.accept();
        peer.half_close();
        CHECK(with_timeout(1ns, [&] { return streams.reader.read(); }).empty());
        streams.writer.write_eof();
        sleep(1ns);
        CHECK(peer.is_over());
      },
      on_any_selector());
}

TEST_CASE("after I/O something may be on its way: it gets the time of TestOptions::settle to arrive") {
  TestOptions options = on_any_selector({.settle = 10s});
  std::thread answering;
  testing::run(
      [&] {
        const PlainListener listener;
        auto streams = open_connection("127.0.0.1", listener.port());
        answering = std::thread([peer = listener.accept()] {
          std::this_thread::sleep_for(20ms);
          peer.send("late\n");
        });
        CHECK(with_timeout(1s, [&] { return streams.reader.readline(); }) == "late\n");
        streams.writer.transport().abort();
        answering.join();
      },
      options);
}

TEST_CASE("time can be real") {
  const auto begin = RealClock::now();
  const TestOptions options = on_any_selector({.time = testing::Time::real});
  testing::run(
      [&] {
        CHECK(get_event_loop().time() >= begin);
        const Hold hold;  // changes nothing
        sleep(5ms);
        CHECK(RealClock::now() >= begin + 5ms);
        CHECK_THROWS_AS(skip_time(get_event_loop(), 1s), InvalidStateError);
      },
      options);
}

// Work outside the loop.

TEST_CASE("while a Hold lives the loop waits for it in real time, and goes on when a thread drops it") {
  testing::run(
      [] {
        Future<int> answer;
        std::thread working([&loop = get_event_loop(), hold = Hold(), answer]() mutable {
          std::this_thread::sleep_for(20ms);
          loop.call_soon_threadsafe([answer]() mutable { answer.set_result(42); });
        });
        CHECK(with_timeout(1h, [&] { return await(answer); }) == 42);
        working.join();
        std::thread dropping([hold = Hold()] { std::this_thread::sleep_for(20ms); });
        const auto begin = RealClock::now();
        sleep(1h);
        CHECK(RealClock::now() - begin >= 20ms);
        dropping.join();
      },
      on_any_selector());
}

TEST_CASE("without a Hold time jumps, whatever other threads do") {
  testing::run([] {
    Future<void> never;
    CHECK_THROWS_AS(with_timeout(1h, [&] { await(never); }), TimeoutError);
  });
}

TEST_CASE("a Hold can be moved, assigned, and may outlive its loop") {
  auto loop = new_test_loop();
  Hold first(*loop);
  Hold second(std::move(first));
  second = Hold(*loop);  // the former one is dropped
  Hold third(*loop);
  third = std::move(second);
  loop->close();
  loop.reset();
}

TEST_CASE("a name that is being resolved is waited for in real time") {
  const PatchedSystem patched;
  sys.getaddrinfo = [](const char*, const char* service, const addrinfo* hints, addrinfo** found) {
    std::this_thread::sleep_for(20ms);
    return ::getaddrinfo("127.0.0.1", service, hints, found);
  };
  testing::run(
      [] {
        const ClosedPort port;
        CHECK_THROWS_AS(open_connection("slow.example", port.port(), {.timeout = 1ms}), ConnectionRefusedError);
        sleep(1h);  // nobody works outside any more
      },
      on_any_selector());
}

// Deadlocks.

TEST_CASE("tasks that wait for ever are named by a DeadlockError, and unwound") {
  bool is_unwound = false;
  struct Guard {
    bool& is_gone;
    ~Guard() { is_gone = true; }
  };
  const std::string what = deadlock_of([&] {
    testing::run(
        [&] {
          auto stuck = create_task({.name = "stuck"}, [&] {
            const Guard guard{is_unwound};
            await(Future<void>());
          });
          sleep(1s);
          await(stuck);
        },
        on_any_selector({.seed = 7, .deadlock_after = 0s}));
  });
  CHECK(contains(what, "deadlock"));
  CHECK(contains(what, "\ntask 'main', 1.000 s old, waits for task 'stuck'\n  created at "));
  CHECK(contains(what, "\ntask 'stuck', 1.000 s old, waits for future created at "));
  CHECK(contains(what, "the seed is "));
  CHECK(is_unwound);
}

TEST_CASE("a deadlock is one only after TestOptions::deadlock_after, since other threads may post") {
  const auto begin = RealClock::now();
  CHECK(deadlock_of([] { testing::run([] { await(Future<void>()); }, {.deadlock_after = 20ms}); }) != "no deadlock");
  CHECK(RealClock::now() - begin >= 20ms);
  testing::run(
      [] {
        Future<void> posted;
        std::thread posting([&loop = get_event_loop(), posted]() mutable {
          std::this_thread::sleep_for(20ms);
          loop.call_soon_threadsafe([posted]() mutable { posted.set_result(); });
        });
        await(posted);
        posting.join();
      },
      on_any_selector());
}

TEST_CASE("a loop that has thrown a DeadlockError can be run again") {
  const auto loop = new_test_loop(on_any_selector({.deadlock_after = 0s}));
  CHECK_THROWS_AS(loop->run_forever(), DeadlockError);
  CHECK(loop->run_until_complete([] { return sleep(1h), 5; }) == 5);
}

// Time by hand.

TEST_CASE("advance_time runs what becomes due, each at its own time, and what follows from it, and nothing later") {
  const auto loop = new_test_loop(on_any_selector());
  const TimePoint start = loop->time();
  int runs = 0;
  loop->call_later(50ms, [&] { ++runs; });
  advance_time(*loop, 49ms);
  CHECK(runs == 0);
  advance_time(*loop, 1ms);
  CHECK(runs == 1);
  CHECK(loop->time() == start + 50ms);

  std::vector<TimePoint> ticks;
  std::function<void()> tick = [&] {
    ticks.push_back(loop->time());
    loop->call_soon([&] { loop->call_later(10ms, tick); });
  };
  loop->call_soon(tick);
  advance_time(*loop, 0s);
  CHECK(ticks.size() == 1);
  advance_time(*loop, 20ms);
  CHECK(ticks == std::vector<TimePoint>{start + 50ms, start + 60ms, start + 70ms});
}

TEST_CASE("advance_time is not cut short by stop(), and with nothing to do the clock moves all the same") {
  const auto loop = new_test_loop(on_any_selector());
  const TimePoint start = loop->time();
  loop->call_later(1s, [&] { loop->stop(); });
  advance_time(*loop, 1h);
  CHECK(loop->time() == start + 1h);
  advance_time(*loop, 24h * 365);
  CHECK(loop->time() == start + 1h + 24h * 365);
}

TEST_CASE("what was due in the time that skip_time skips runs late, in its order") {
  const auto loop = new_test_loop(on_any_selector());
  const TimePoint start = loop->time();
  Trace trace;
  const auto set_timers = [&] {
    loop->call_later(2ms, [&] { trace.push_back("second"); });
    loop->call_later(1ms, [&] { trace.push_back("first"); });
    skip_time(*loop, 5ms);
    CHECK(trace.empty());
    loop->call_later(0ms, [&] { loop->stop(); });
  };
  SECTION("before a run") { set_timers(); }
  SECTION("in a callback") { loop->call_soon(set_timers); }
  loop->run_forever();
  CHECK(trace == Trace{"first", "second"});
  CHECK(loop->time() == start + 5ms);
}

TEST_CASE("time that is skipped while time is advanced is not taken back") {
  const auto loop = new_test_loop();
  const TimePoint start = loop->time();
  loop->call_soon([&] { skip_time(*loop, 1h); });
  advance_time(*loop, 1s);
  CHECK(loop->time() == start + 1h);
}

TEST_CASE("time is not moved where that makes no sense") {
  const auto loop = new_test_loop();
  for (const auto move : {advance_time, skip_time}) {
    CHECK_THROWS_AS(move(*loop, -1ns), std::invalid_argument);
    CHECK_THROWS_AS(move(*loop, Duration::max()), std::invalid_argument);
    CHECK_THROWS_AS(move(*new_event_loop(), 1s), InvalidStateError);
    PollEventLoop foreign;
    CHECK_THROWS_AS(move(foreign, 1s), InvalidStateError);
  }
  loop->run_until_complete([&] { CHECK_THROWS_AS(advance_time(*loop, 1s), InvalidStateError); });
  loop->close();
  CHECK_THROWS_AS(advance_time(*loop, 1s), InvalidStateError);
}

// Running a test.

TEST_CASE("run returns what main returns, 0 for void, and throws what it throws") {
  CHECK(testing::run([] { return std::string("result"); }) == "result");
  CHECK(testing::run([] { sleep(1h); }) == 0);
  CHECK_THROWS_AS(testing::run([] { throw std::runtime_error("boom"); }), std::runtime_error);
  CHECK_THROWS_AS(testing::run([] { testing::run([] {}); }), InvalidStateError);
}

TEST_CASE("a run that fails says with which seed, and a run that does not says nothing") {
  const SeedVariable unset(nullptr);
  const CapturedStderr captured;
  testing::run([] {}, {.seed = 1234});
  CHECK_THROWS_AS(testing::run([] { throw 1; }), int);
  CHECK(captured.text().empty());
  CHECK_THROWS_AS(testing::run([] { throw 1; }, {.seed = 1234}), int);
  CHECK(captured.text() == "tulp: this run had the seed 1234; TULP_SEED=1234 repeats it\n");
}

TEST_CASE("TULP_SEED wins over the program's seeds") {
  {
    const SeedVariable unset(nullptr);
    CHECK_FALSE(testing::seed_of(*new_test_loop()));
    CHECK(testing::seed_of(*new_test_loop({.seed = 5})) == 5U);
    CHECK(testing::seeds(3) == std::vector<std::uint64_t>{1, 2, 3});
  }
  const SeedVariable set("18446744073709551615");
  CHECK(testing::seed_of(*new_test_loop()) == 18446744073709551615U);
  CHECK(testing::seed_of(*new_test_loop({.seed = 5})) == 18446744073709551615U);
  CHECK(testing::seeds(3) == std::vector<std::uint64_t>{18446744073709551615U});
  CHECK_THROWS_AS(testing::seed_of(*new_event_loop()), InvalidStateError);
}

TEST_CASE("a TULP_SEED that is no number is refused, and an empty one is none") {
  for (const char* text : {"seven", "7 ", "-1", "0x7", "18446744073709551616"}) {
    const SeedVariable set(text);
    CHECK_THROWS_AS(new_test_loop(), std::invalid_argument);
    CHECK_THROWS_AS(testing::seeds(1), std::invalid_argument);
  }
  const SeedVariable empty("");
  CHECK_FALSE(testing::seed_of(*new_test_loop()));
}

TEST_CASE("a test loop that cannot be made leaks nothing") {
  const std::size_t fds = open_fd_count();
  const PatchedSystem patched;
  sys.eventfd = [](unsigned, int) { return errno = EMFILE, -1; };
  CHECK_THROWS_AS(new_test_loop(on_any_selector()), OsError);
  CHECK(open_fd_count() == fds);
}
