#include "fiber/overflow.hpp"

#include <tulp/run.hpp>

#include <sys/resource.h>

#include <csignal>
#include <thread>

#include "fiber/sanitizer.hpp"
#include "support/loops.hpp"
#include "support/process.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {
[[gnu::noinline]] void use_a_large_frame() {
  volatile char frame[300 * 1024];
  for (std::size_t at = 0; at < sizeof frame; at += 4096) frame[at] = 1;
}
}  // namespace

// AddressSanitizer has a handler, and a message, of its own.
#if !defined(TULP_ASAN) && !defined(TULP_TSAN)

namespace {

[[gnu::noinline]] int recurse(int depth) {
  volatile char frame[200] = {};
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}

[[gnu::noinline]] int one_large_frame() {
  volatile char frame[400 * 1024];  // more than the stack and its guard
  frame[0] = 1;
  return frame[0];
}

/// Recurses through malloc, so that the overflow happens inside of it, under its lock.
[[gnu::noinline]] void* recurse_through_malloc(int depth) {
  void* volatile memory = std::malloc(2000 + static_cast<std::size_t>(depth % 7) * 100);
  return depth < 0 ? memory : (recurse_through_malloc(depth + 1), memory);
}

ChildEnd overflow_of(std::function<void()> body) {
  return run_in_child([&] {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    run([&] {
      auto task = create_task({.name = "crawl", .stack_size_bytes = 64 * 1024}, body);
      await(task);
    });
  });
}
constexpr const char* expected_line =
    "tulp: stack overflow in task 'crawl', whose stack has 64 KiB "
    "\\(TaskOptions.stack_size_bytes or TULP_STACK_SIZE gives more\\), created at .*\n";

}  // namespace

TEST_CASE("an overflow ends with a line that names the task, its stack's size and where it was created, and SIGSEGV") {
  const auto end = overflow_of([] { recurse(1); });
  CHECK(end.died_of(SIGSEGV));
  CHECK_THAT(end.errors, Catch::Matches(expected_line));
  CHECK_THAT(end.errors, Catch::Contains("overflow_test.cpp:"));
}

TEST_CASE("a single frame larger than stack and guard together is caught all the same") {
  const auto end = overflow_of([] { one_large_frame(); });
  CHECK(end.died_of(SIGSEGV));
  CHECK_THAT(end.errors, Catch::Matches(expected_line));
}

TEST_CASE("a task without a name is named by its number, and the default size is told") {
  const auto end = run_in_child([] { run([] { await(create_task([] { recurse(1); })); }); });
  CHECK(end.died_of(SIGSEGV));
  CHECK_THAT(end.errors, Catch::Contains("in task 'Task-2', whose stack has 256 KiB"));
}

TEST_CASE("an overflow in any thread, inside malloc and with other threads about, ends the same way") {
  const auto end = run_in_child([] {
    std::thread([] {
      run([] {
        await(create_task({.name = "crawl", .stack_size_bytes = 64 * 1024}, [] { recurse_through_malloc(1); }));
      });
    }).join();
  });
  CHECK(end.died_of(SIGSEGV));
  CHECK_THAT(end.errors, Catch::Matches(expected_line));
}

TEST_CASE("an overflow after parks, on a fiber that was used before, names the task that runs now") {
  const auto end = overflow_of([] {
    for (int i = 0; i < 3; ++i)
      await(create_task({.name = "earlier", .stack_size_bytes = 64 * 1024}, [] { sleep(0s); }));
    await(create_task({.name = "later", .stack_size_bytes = 64 * 1024}, [] {
      sleep(1us);
      recurse(1);
    }));
  });
  CHECK(end.died_of(SIGSEGV));
  CHECK_THAT(end.errors, Catch::Contains("in task 'later'"));
}

TEST_CASE("another SIGSEGV is left alone: the process dies of it, without our message") {
  const auto end = overflow_of([] {
    volatile int* volatile nowhere = nullptr;
    *nowhere = 1;
  });
  CHECK(end.died_of(SIGSEGV));
  CHECK(end.errors == "");
}

TEST_CASE("a SIGSEGV that was sent, and did not happen, ends the process as well") {
  const auto end = overflow_of([] { ::raise(SIGSEGV); });
  CHECK(end.died_of(SIGSEGV));
  CHECK(end.errors == "");
}

TEST_CASE("a handler for SIGSEGV that was there before gets what is no overflow") {
  const auto end = run_in_child([] {
    struct sigaction action {};
    action.sa_handler = [](int) {
      [[maybe_unused]] const auto result = ::write(2, "former handler\n", 15);
      ::_exit(7);
    };
    ::sigaction(SIGSEGV, &action, nullptr);
    run([] {
      volatile int* volatile nowhere = nullptr;
      *nowhere = 1;
    });
  });
  CHECK(end.exited_with(7));
  CHECK(end.errors == "former handler\n");
}

#endif

TEST_CASE("the deepest recursion that fits leaves a stack usable, and its high-water mark tells") {
  run([] {
    auto task = create_task({.stack_size_bytes = 512 * 1024}, [] {
      const std::size_t before = current_task().stack_high_water_bytes();
      use_a_large_frame();
      return current_task().stack_high_water_bytes() - before;
    });
    CHECK(await(task) >= 290 * 1024);
  });
}
