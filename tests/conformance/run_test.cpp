// run and run_main: a program's loop from its beginning to its end.
#include <tulp/run.hpp>

#include <csignal>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include "fiber/sanitizer.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
/// The runs of this file are made on both selectors of the library.
RunOptions any_loop() { return {.loop = {.selector = any_selector()}}; }
}  // namespace

TEST_CASE("run returns what main returns, 0 for void") {
  const RunOptions options = any_loop();
  CHECK(run([] { return std::string("result"); }, options) == "result");
  CHECK(*run([] { return std::make_unique<int>(4); }, options) == 4);
  CHECK(run([] { sleep(0s); }, options) == 0);
}

TEST_CASE("run throws what main throws") {
  const RunOptions options = any_loop();
  CHECK_THROWS_AS(run([] { throw Boom(); }, options), Boom);
  CHECK_THROWS_AS(run([]() -> int { throw 42; }, options), int);
  CHECK_THROWS_AS(run([] { current_task().cancel(); }, options), FutureCancelledError);
}

TEST_CASE("who waits for a task that run() cancels at its end hears of that") {
  const RunOptions options = any_loop();
  Trace trace;
  run(
      [&] {
        auto left = create_task([&] {
          try {
            sleep(1h);
          } catch (const CancelledError&) {
            trace.push_back("cancelled");
            throw;
          }
        });
        left.add_done_callback([&](const Future<>& task) {
          CHECK(task.cancelled());
          trace.push_back("heard");
        });
        sleep(0s);
      },
      options);
  CHECK(trace == Trace{"cancelled", "heard"});
}

TEST_CASE("main runs as a task named 'main', on a loop that is gone afterwards") {
  const std::size_t fds = open_fd_count();
  run([] {
    CHECK(current_task().name() == "main");
    CHECK(get_running_loop() == &get_event_loop());
  });
  CHECK(get_running_loop() == nullptr);
  CHECK(open_fd_count() == fds);
}

TEST_CASE("run inside a run throws InvalidStateError, says nothing and leaks nothing") {
  const CapturedStderr captured;
  const std::size_t fds = open_fd_count();
  run([&] {
    const std::size_t inside = open_fd_count();
    CHECK_THROWS_AS(run([] {}), InvalidStateError);
    CHECK(open_fd_count() == inside);
    sleep(0s);
  });
  CHECK(open_fd_count() == fds);
  CHECK(captured.text() == "");
}

TEST_CASE("tasks that are left when main has ended are cancelled and run to their end, which may park") {
  const RunOptions options = any_loop();
  Trace trace;
  run(
      [&] {
        create_task([&] {
          try {
            sleep(1h);
          } catch (const CancelledError&) {
            const CancelShield shield;
            sleep(1ms);
            trace.push_back("cleaned up");
            throw;
          }
        });
        create_task([&] { trace.push_back("begun"); });
        sleep(0s);
        trace.push_back("main ends");
      },
      options);
  CHECK(trace == Trace{"begun", "main ends", "cleaned up"});
}

TEST_CASE("a task that is started while the others are being cancelled is cancelled too") {
  Trace trace;
  run([&] {
    create_task([&] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        create_task([&] {
          try {
            sleep(1h);
          } catch (const CancelledError&) {
            trace.push_back("late one cancelled");
          }
        });
      }
      sleep(0s);
    });
    sleep(0s);
  });
  CHECK(trace.size() <= 1);  // it is cancelled before its first step, or in its sleep
}

TEST_CASE("a task that swallowed an earlier cancellation is cancelled at the end of run all the same") {
  const CapturedStderr captured;
  Trace trace;
  const auto begin = std::chrono::steady_clock::now();
  run(
      [&] {
        auto task = create_task([&] {
          try {
            sleep(1h);
          } catch (const CancelledError&) {
          }
          try {
            sleep(1h);
          } catch (const CancelledError&) {
            trace.push_back("cancelled again");
          }
        });
        sleep(0s);
        task.cancel();
        sleep(0s);
        sleep(0s);
      },
      {.drain = 40s});
  CHECK(trace.size() == 1);
  CHECK(captured.text() == "");
  CHECK(std::chrono::steady_clock::now() < begin + 30s);
}

TEST_CASE("a failure of a left-over task is reported") {
  const CapturedStderr captured;
  run([] {
    create_task({.name = "leftover"}, [] {
      try {
        sleep(1h);
      } catch (const CancelledError&) {
        throw Boom();
      }
    });
    sleep(0s);
  });
  CHECK_THAT(captured.text(), Catch::Contains("never retrieved: boom") && Catch::Contains("task 'leftover'"));
}

TEST_CASE("a task that ignores its cancellation beyond the limit is named, with the place of its creation") {
#if defined(TULP_ASAN)
  return;  // its stack is leaked, as promised
#endif
  const auto end = run_in_child([] {
    run(
        [] {
          create_task({.name = "stubborn"}, [] {
            for (;;) {
              try {
                sleep(1h);
              } catch (const CancelledError&) {
              }
            }
          });
          sleep(0s);
        },
        {.drain = 5ms});
  });
  CHECK(end.exited_with(0));
  CHECK_THAT(end.errors, Catch::Contains("task 'stubborn'") && Catch::Contains("run_test.cpp"));
}

TEST_CASE("a task that ignores its cancellation is asked once, and holds up the end of run for one limit") {
#if defined(TULP_ASAN)
  return;  // its stack is leaked, as promised
#endif
  const auto end = run_in_child([] {
    run(
        [] {
          create_task([] {
            for (;;) {
              try {
                sleep(1h);
              } catch (const CancelledError&) {
                std::fputs("asked;", stderr);
              }
            }
          });
          sleep(0s);
        },
        {.drain = 5ms});
  });
  CHECK(end.errors.find("asked;") == end.errors.rfind("asked;"));
}

TEST_CASE("a loop that is stopped before main is done is an error, and main is run to its end") {
  bool has_ended = false;
  const auto main = [&] {
    const auto at_end = [](bool* flag) { *flag = true; };
    const std::unique_ptr<bool, decltype(at_end)> guard(&has_ended, at_end);
    get_event_loop().stop();
    sleep(1h);
  };
  CHECK_THROWS_AS(run(main, any_loop()), InvalidStateError);
  CHECK(has_ended);
}

TEST_CASE("the first Ctrl-C cancels main, and run throws KeyboardInterrupt; the former disposition comes back") {
  const RunOptions options = any_loop();
  bool was_cancelled = false;
  const auto main = [&] {
    std::raise(SIGINT);
    try {
      sleep(1h);
    } catch (const CancelledError& error) {
      was_cancelled = error.message() == "Ctrl-C";
      throw;
    }
  };
  CHECK_THROWS_AS(run(main, options), KeyboardInterrupt);
  CHECK(was_cancelled);
  CHECK(std::signal(SIGINT, SIG_DFL) == SIG_DFL);
}

TEST_CASE("the second Ctrl-C ends the process at once, even if a task never parks") {
  const auto end = run_in_child([] {
    run([] {
      std::raise(SIGINT);
      std::raise(SIGINT);
      for (volatile bool is_stuck = true; is_stuck;) continue;
    });
  });
  CHECK(end.died_of(SIGINT));
}

TEST_CASE("two tasks that wait for each other do not hold up the end of run") {
  const CapturedStderr captured;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Task<>> tasks;  // outlives the run: nobody takes note of how they end
  run(
      [&] {
        for (std::size_t other : {1, 0}) {
          tasks.push_back(create_task([&tasks, other] {
            try {
              await(tasks[other]);
            } catch (const std::exception&) {
            }
          }));
        }
        sleep(0s);
      },
      {.drain = 40s});
  CHECK(std::chrono::steady_clock::now() < begin + 30s);
  CHECK(captured.text() == "");
}

TEST_CASE("a thousand left-over tasks that wait for each other end in no time") {
  const auto begin = std::chrono::steady_clock::now();
  run(
      [] {
        auto last = create_task([] { sleep(1h); });
        for (int i = 0; i < 1000; ++i) last = create_task([last] { await(last); });
        sleep(0s);
        sleep(0s);
      },
      {.drain = 40s});
  CHECK(std::chrono::steady_clock::now() < begin + 30s);
}

TEST_CASE("run_main returns main's int, or 0") {
  CHECK(run_main([] { return 3; }) == 3);
  CHECK(run_main([] {}) == 0);
}

TEST_CASE("run_main prints one line for an error, and returns 1; 130 for an interrupt") {
  const CapturedStderr captured;
  SECTION("an exception") {
    CHECK(run_main([] { throw Boom(); }) == 1);
    CHECK(captured.text() == "error: boom\n");
  }
  SECTION("something that is not a std::exception") {
    CHECK(run_main([]() -> int { throw 42; }) == 1);
    CHECK_THAT(captured.text(), Catch::StartsWith("error: ") && Catch::EndsWith("\n"));
  }
  SECTION("main was cancelled") {
    CHECK(run_main([] { current_task().cancel(); }) == 1);
    CHECK_THAT(captured.text(), Catch::StartsWith("error: "));
  }
  SECTION("an interrupt") {
    CHECK(run_main([] { throw KeyboardInterrupt(); }) == 130);
    CHECK(captured.text() == "");
  }
}
