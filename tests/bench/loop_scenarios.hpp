// What the programs of bench_loop share: how a scenario is timed, counted and reported.
//
//   PROGRAM SCENARIO [COUNT] [ROUNDS]     prints one line of JSON; without arguments, the scenarios that it knows
//
// Each program runs the same scenarios in its own library's way.  A scenario starts COUNT operations and returns how many
// of them it has seen happen; any other number than COUNT ends the program with an error.
#pragma once
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <initializer_list>
#include <string_view>
#include <thread>
#include <vector>

namespace loop_bench {

constexpr int calls_per_turn = 1000;              // call_soon: so many are queued at a time
constexpr std::chrono::milliseconds spread{250};  // of random deadlines that are to fire
constexpr std::chrono::hours far_away{1};         // of those that are to be cancelled
constexpr std::chrono::seconds usual_timeout{60};

/// Runs between start() and pause().  Counts time that passes, and processor time of all threads.
class Stopwatch {
 public:
  void start() { wall_ -= now(CLOCK_MONOTONIC), cpu_ -= now(CLOCK_PROCESS_CPUTIME_ID); }
  void pause() { wall_ += now(CLOCK_MONOTONIC), cpu_ += now(CLOCK_PROCESS_CPUTIME_ID); }
  double wall_nanoseconds() const { return wall_; }
  double cpu_nanoseconds() const { return cpu_; }

 private:
  static double now(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  }
  double wall_ = 0;
  double cpu_ = 0;
};

/// A second thread, which does nothing.  From here on reference counts and malloc are atomic, in every library.
class IdleThread {
 public:
  IdleThread() : thread_([this] { may_end_.wait(false); }) {}
  IdleThread(const IdleThread&) = delete;
  IdleThread& operator=(const IdleThread&) = delete;
  ~IdleThread() {
    may_end_ = true;
    may_end_.notify_one();
    thread_.join();
  }

 private:
  std::atomic<bool> may_end_ = false;
  std::thread thread_;
};

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

/// The loop has the first core that the process may use, threads that post have the others, if there are any.
enum class Cores { first, others };
inline void move_this_thread_to(Cores which) {
  static const cpu_set_t allowed = [] {
    cpu_set_t cores;
    ::sched_getaffinity(0, sizeof cores, &cores);
    return cores;
  }();
  if (CPU_COUNT(&allowed) < 2) return;
  int first = 0;
  while (!CPU_ISSET(first, &allowed)) ++first;
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  CPU_SET(first, &chosen);
  if (which == Cores::others) CPU_XOR(&chosen, &chosen, &allowed);
  ::sched_setaffinity(0, sizeof chosen, &chosen);
}

/// `thread_count` threads that call `post` `count` times together.
template <class Post>
std::vector<std::thread> post_from(int thread_count, int count, Post post) {
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.emplace_back([post, posts = count / thread_count]() mutable {
      move_this_thread_to(Cores::others);
      for (int n = 0; n < posts; ++n) post();
    });
  }
  return threads;
}

inline void join(std::vector<std::thread>& threads) {
  for (std::thread& thread : threads) thread.join();
}

struct Scenario {
  std::string_view name;
  int (*run)(int count, Stopwatch& stopwatch);  // starts and pauses the watch
};

inline void print_list(const char* key, const std::vector<double>& values) {
  std::printf("\"%s\": [", key);
  for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.2f", i == 0 ? "" : ", ", values[i]);
  std::printf("]");
}

inline int run_scenario(int argc, char** argv, std::initializer_list<Scenario> scenarios) {
  if (argc < 2) {
    for (const Scenario& scenario : scenarios) std::puts(scenario.name.data());
    return 0;
  }
  const std::string_view name = argv[1];
  const int count = argc > 2 ? std::atoi(argv[2]) : 1'000'000;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 3;
  const auto* scenario =
      std::find_if(scenarios.begin(), scenarios.end(), [&](const Scenario& known) { return known.name == name; });
  if (scenario == scenarios.end() || rounds < 1 || count < calls_per_turn || count % calls_per_turn != 0) {
    std::fprintf(stderr, "usage: %s SCENARIO [COUNT, in thousands] [ROUNDS]\n", argv[0]);
    return 2;
  }
  move_this_thread_to(Cores::first);
  std::vector<double> wall;
  std::vector<double> cpu;
  for (int round = 0; round < rounds; ++round) {
    Stopwatch stopwatch;
    const int seen = scenario->run(count, stopwatch);
    if (seen != count) {
      std::fprintf(stderr, "%s: %d of %d happened\n", name.data(), seen, count);
      return 1;
    }
    wall.push_back(stopwatch.wall_nanoseconds() / count);
    cpu.push_back(stopwatch.cpu_nanoseconds() / count);
  }
  std::printf("{");
  print_list("wall_ns", wall);
  std::printf(", ");
  print_list("cpu_ns", cpu);
  std::printf("}\n");
  return 0;
}

}  // namespace loop_bench
