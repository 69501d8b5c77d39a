// What tulp's own parts cost, with no network: one line "name value unit" each, the median of five runs.
//
//   tulp_micro [PARKED_FIBERS [memory]]      how many fibers to park for the memory figures (default 100,000), and no others
#include <tulp/tulp.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

constexpr int million = 1'000'000;

void report(std::string_view name, double value, std::string_view unit) {
  std::printf("%-28.*s %10.1f %.*s\n", static_cast<int>(name.size()), name.data(), value, static_cast<int>(unit.size()),
              unit.data());
  std::fflush(stdout);
}

/// A stopwatch that runs from its construction.
class Stopwatch {
 public:
  double nanoseconds() const {
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Reports the median of five results of `run`, each divided by `count`.
template <class Run>
void report_each(std::string_view name, int count, Run run) {
  std::array<double, 5> results;
  for (double& result : results) result = run();
  std::sort(results.begin(), results.end());
  report(name, results[results.size() / 2] / count, "ns");
}

/// A small generator (xorshift), the same numbers in every run.
class Shuffler {
 public:
  std::chrono::nanoseconds below(std::chrono::nanoseconds limit) {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return std::chrono::nanoseconds(state_ % static_cast<std::uint64_t>(limit.count()));
  }

 private:
  std::uint64_t state_ = 88172645463325252;
};

// Fibers

/// `task_count` tasks that yield in turn, until together they have switched `switch_count` times.
double yield_in_turn(int task_count, int switch_count) {
  std::vector<tulp::Task<>> tasks;
  Stopwatch stopwatch;
  for (int i = 0; i < task_count; ++i) {
    tasks.push_back(tulp::create_task([turns = switch_count / task_count] {
      for (int turn = 0; turn < turns; ++turn) tulp::sleep(0s);
    }));
  }
  for (auto& task : tasks) tulp::await(task);
  return stopwatch.nanoseconds();
}

double create_and_await(int count) {
  Stopwatch stopwatch;
  for (int i = 0; i < count; ++i) tulp::await(tulp::create_task([] {}));
  return stopwatch.nanoseconds();
}

// Callbacks and timers

double call_soon(int count) {
  constexpr int burst = 1000;
  auto& loop = tulp::get_event_loop();
  int called = 0;
  Stopwatch stopwatch;
  while (called < count) {
    for (int i = 0; i < burst; ++i) loop.call_soon([&called] { ++called; });
    tulp::sleep(0s);
  }
  return stopwatch.nanoseconds();
}

/// All are pending at once, an hour ahead and in no order.
double schedule_and_cancel(int count) {
  auto& loop = tulp::get_event_loop();
  Shuffler shuffler;
  std::vector<tulp::TimerHandle> handles;
  handles.reserve(static_cast<std::size_t>(count));
  Stopwatch stopwatch;
  for (int i = 0; i < count; ++i) handles.push_back(loop.call_later(1h + shuffler.below(1h), [] {}));
  for (auto& handle : handles) handle.cancel();
  handles.clear();
  tulp::sleep(0s);  // the loop's own tidying counts too
  return stopwatch.nanoseconds();
}

/// All are pending at once, in no order, and all but the last few are due when the loop first looks.
double schedule_and_fire(int count) {
  auto& loop = tulp::get_event_loop();
  Shuffler shuffler;
  int fired = 0;
  Stopwatch stopwatch;
  auto base = loop.time();
  for (int i = 0; i < count; ++i) loop.call_at(base + shuffler.below(10ms), [&fired] { ++fired; });
  while (fired < count) tulp::sleep(0s);
  return stopwatch.nanoseconds();
}

/// From the first post to the last callback, `thread_count` threads posting as fast as they can.
double post_from_threads(int thread_count, int count) {
  auto& loop = tulp::get_event_loop();
  tulp::Future<> all_called(loop);
  int called = 0;
  Stopwatch stopwatch;
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.emplace_back([&, posts = count / thread_count] {
      for (int post = 0; post < posts; ++post) {
        loop.call_soon_threadsafe([&] {
          if (++called == count) all_called.set_result();
        });
      }
    });
  }
  tulp::await(all_called);
  double passed = stopwatch.nanoseconds();
  for (auto& thread : threads) thread.join();
  return passed;
}

// Memory

/// The number behind `key` in a file of lines "Key:  number kB", in bytes.
double bytes_in(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::strtod(line.c_str() + key.size(), nullptr) * 1024;
  }
  return 0;
}

/// What this process occupies: resident pages, and the page tables that map them.
double footprint_bytes() {
  return bytes_in("/proc/self/smaps_rollup", "Rss:") + bytes_in("/proc/self/status", "VmPTE:");
}

void report_parked_fibers(int count) {
  tulp::Future<> gate(tulp::get_event_loop());
  int parked = 0;
  int ended = 0;
  double before = footprint_bytes();
  Stopwatch stopwatch;
  for (int i = 0; i < count; ++i) {
    tulp::create_task([&] {
      ++parked;
      tulp::await(gate);
      ++ended;
    });
  }
  while (parked < count) tulp::sleep(0s);
  report("park_new_fiber", stopwatch.nanoseconds() / count, "ns");
  report("memory_per_parked_fiber", (footprint_bytes() - before) / count, "B");

  Stopwatch waking;
  gate.set_result();
  while (ended < count) tulp::sleep(0s);
  report("wake_parked_fiber", waking.nanoseconds() / count, "ns");
}

}  // namespace

int main(int argc, char** argv) {
  int parked_count = argc > 1 ? std::atoi(argv[1]) : 100'000;
  if (parked_count < 1) {
    std::fputs("usage: tulp_micro [PARKED_FIBERS [memory]]\n", stderr);
    return 2;
  }
  const bool only_memory = argc > 2 && std::string_view(argv[2]) == "memory";
  return tulp::run_main([parked_count, only_memory] {
    report_parked_fibers(parked_count);  // first, while no stack is warm
    if (only_memory) return;
    report_each("switch_2_tasks", 10 * million, [] { return yield_in_turn(2, 10 * million); });
    report_each("switch_1000_tasks", 10 * million, [] { return yield_in_turn(1000, 10 * million); });
    report_each("create_and_await", million, [] { return create_and_await(million); });
    report_each("call_soon", million, [] { return call_soon(million); });
    report_each("timer_cancelled", million, [] { return schedule_and_cancel(million); });
    report_each("timer_fired", million, [] { return schedule_and_fire(million); });
    report_each("post_from_1_thread", million, [] { return post_from_threads(1, million); });
    report_each("post_from_4_threads", million, [] { return post_from_threads(4, million); });
  });
}
