// What the programs of this folder share: tasks by the hundred whose libraries' calls park, a clock that is to stay on time,
// and a main program that runs one scenario by its name.
#pragma once
#include <tulp/tulp.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tulp/posix.hpp>

namespace tulp::test {

inline void expect(bool is_true, const std::string& what) {
  if (!is_true) throw std::runtime_error("not so: " + what);
}

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline std::size_t open_descriptor_count() {
  const std::filesystem::directory_iterator folder("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

/// A task whose libraries park.
template <class F>
auto start(F body) {
  return create_task({.blocking_calls = tulp::park}, std::move(body));
}

/// Runs `body(number)` in `count` tasks side by side; when one fails the others are cancelled.
template <class F>
void in_tasks(int count, F body) {
  with_task_group([&](TaskGroup& group) {
    for (int number = 0; number < count; ++number)
      group.create_task({.blocking_calls = tulp::park}, [body, number] { body(number); });
  });
}

/// A timer that is due every few milliseconds, and by how much it has been late.
class Ticker {
 public:
  Ticker()
      : task_(create_task([this] {
          for (double due = now() + period;; due = now() + period) {
            sleep(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(period)));
            worst_ = std::max(worst_, now() - due);
          }
        })) {}
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker() { task_.cancel(); }
  double largest_lateness() const { return worst_; }

 private:
  static constexpr double period = 0.005;
  double worst_ = 0;
  Task<void> task_;
};

/// How long `body()` takes, which has to be less than `limit` seconds, while the timers of other tasks stay on time.
template <class F>
void timed(const std::string& what, double limit, F body) {
  Ticker ticker;
  const double begin = now();
  body();
  const double seconds = now() - begin;
  std::printf("%s: %.3f s, timers at most %.1f ms late\n", what.c_str(), seconds, 1000 * ticker.largest_lateness());
  expect(seconds < limit, what + " takes less than " + std::to_string(limit) + " s");
  // Volumes keep the processor busy, as other programs do, and each task goes on for 64 calls that need not wait.  If the
  // tasks waited one after the other, the timers would be late by the sum.
  expect(ticker.largest_lateness() < std::max(3.0, limit / 4), "timers are on time");
}

/// What a task throws that is cancelled while it is in a library: the library has failed, and then so does the next park.
template <class F>
void expect_cancelled(F call) {
  bool has_failed = false;
  try {
    call();
  } catch (const std::runtime_error&) {
    has_failed = true;
  }
  expect(has_failed, "a cancelled call fails");
  sleep(std::chrono::hours(1));
}

/// Calls again and again, until it fails because the task has been cancelled.
template <class F>
void call_until_cancelled(F call) {
  try {
    for (;;) call();
  } catch (const std::runtime_error& failure) {
    sleep(std::chrono::nanoseconds(0));
    throw std::runtime_error(std::string("failed without a cancellation: ") + failure.what());
  }
}

/// Starts `count` tasks of `body(number)`, cancels them when `wait()` has returned, and expects all to end by that, soon,
/// and with no descriptor left behind.
template <class Wait, class F>
void cancel_after(int count, Wait wait, F body) {
  const std::size_t before = open_descriptor_count();
  std::vector<Task<void>> tasks;
  for (int number = 0; number < count; ++number) tasks.push_back(start([body, number] { body(number); }));
  wait();
  const double begin = now();
  for (auto& task : tasks) task.cancel();
  for (const auto& task : tasks) {
    try {
      await(Future<void>(task));
      throw std::runtime_error("not so: a cancelled task has been cancelled");
    } catch (const FutureCancelledError&) {
    }
  }
  std::printf("%d cancelled tasks have ended after %.3f s\n", count, now() - begin);
  expect(now() - begin < 5, "cancelled tasks end soon");
  const std::size_t after = open_descriptor_count();
  expect(after <= before, std::to_string(before) + " descriptors before, " + std::to_string(after) + " afterwards");
}

/// The same when all of them wait: `body(number, waiting_count)` counts itself before the call that is to be cancelled.
template <class F>
void cancel_when_all_wait(int count, F body) {
  int waiting_count = 0;
  const auto wait = [&] {
    while (waiting_count < count) sleep(std::chrono::milliseconds(10));
    sleep(std::chrono::milliseconds(100));
  };
  cancel_after(count, wait, [&](int number) { body(number, waiting_count); });
}

/// The same after so long, wherever they are by then.
template <class F>
void cancel_in_the_middle(int count, std::chrono::milliseconds when, F body) {
  const auto wait = [&] { sleep(when); };
  cancel_after(count, wait, body);
}

using Arguments = std::vector<std::string>;

struct Scenario {
  std::string_view name;
  void (*run)(const Arguments& arguments);
};

/// PROGRAM SCENARIO ARGUMENT...
inline int run_scenario(int count, char** arguments, const std::vector<Scenario>& scenarios) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ::alarm(300);  // whatever hangs
  return run_main([&] {
    const Arguments words(arguments + 1, arguments + count);
    for (const Scenario& scenario : scenarios)
      if (!words.empty() && scenario.name == words[0]) return scenario.run({words.begin() + 1, words.end()});
    throw std::invalid_argument("no such scenario");
  });
}

}  // namespace tulp::test
