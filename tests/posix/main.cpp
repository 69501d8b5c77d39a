// Runs each scenario on plain threads, where the kernel itself blocks, and in tasks; the two must see the same.
//
// usage: tulp_blocking_calls [--list] [--trace] [--library] [--old-kernel] [NAME...]
//
// --library: it is a failure if tulp-blocking is not what libc's names mean.
#include <tulp/posix.hpp>
#include <tulp/run.hpp>

#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <thread>

#include "base/sys.hpp"
#include "posix/stage.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

class Threads final : public Stage {
 public:
  using Stage::Stage;
  std::unique_ptr<Flow> start(std::function<void()> body) override { return std::make_unique<Thread>(std::move(body)); }

 private:
  struct Thread final : Flow {
    explicit Thread(std::function<void()> body) : thread(std::move(body)) {}
    ~Thread() override { join(); }
    void join() override {
      if (thread.joinable()) thread.join();
    }
    std::thread thread;
  };
};

class Tasks final : public Stage {
 public:
  Tasks(const Calls& its_calls, BlockingCalls blocking_calls) : Stage(its_calls), blocking_calls_(blocking_calls) {}
  std::unique_ptr<Flow> start(std::function<void()> body) override {
    return std::make_unique<OtherTask>(create_task({.blocking_calls = blocking_calls_}, std::move(body)));
  }

 private:
  struct OtherTask final : Flow {
    explicit OtherTask(Task<void> its_task) : task(std::move(its_task)) {}
    void join() override { await(task); }
    Task<void> task;
  };
  BlockingCalls blocking_calls_;
};

#define TULP_LIBC(result, name, parameters, arguments) .name = [] parameters -> result { return ::name arguments; },
#define TULP_POSIX(result, name, parameters, arguments) \
  .name = [] parameters -> result { return posix::name arguments; },
constexpr Calls libc_calls = {TULP_BLOCKING_CALLS(TULP_LIBC)};
constexpr Calls posix_calls = {TULP_BLOCKING_CALLS(TULP_POSIX)};

using Trace = std::vector<std::string>;

Trace on_threads(const Scenario& scenario) {
  Threads stage(libc_calls);
  scenario.run(stage);
  return stage.trace;
}

/// While the scenario runs another task must get its turn, or something has held up the loop.
Trace in_tasks(const Scenario& scenario, const Calls& calls, BlockingCalls blocking_calls) {
  Tasks stage(calls, blocking_calls);
  double longest_wait = 0;
  run([&] {
    auto ticker = create_task([&] {
      for (double last = Stage::now();;) {
        sleep(std::chrono::milliseconds(2));
        const double time = Stage::now();
        longest_wait = std::max(longest_wait, time - last);
        last = time;
      }
    });
    await(create_task({.blocking_calls = blocking_calls}, [&] { scenario.run(stage); }));
    ticker.cancel();
  });
  constexpr double too_long = 5;
  if (longest_wait > too_long) stage.note("the loop was held up for " + std::to_string(longest_wait) + " s");
  return stage.trace;
}

/// True if they are the same.
bool compare(const char* scenario, const char* where, const Trace& expected, const Trace& got) {
  if (expected == got) return true;
  std::printf("%s: %s, threads on the left:\n", scenario, where);
  for (std::size_t i = 0; i < std::max(expected.size(), got.size()); ++i) {
    const std::string left = i < expected.size() ? expected[i] : "", right = i < got.size() ? got[i] : "";
    std::printf("  %c %-60s %s\n", left == right ? ' ' : '!', left.c_str(), right.c_str());
  }
  return false;
}

bool run_scenario(const Scenario& scenario, bool has_library, bool shows_trace) {
  const Trace expected = on_threads(scenario);
  if (shows_trace)
    for (const std::string& line : expected) std::printf("  %s\n", line.c_str());
  bool is_same = compare(scenario.name, "tulp::posix", expected, in_tasks(scenario, posix_calls, BlockingCalls::block));
  if (has_library)
    is_same &= compare(scenario.name, "tulp-blocking", expected, in_tasks(scenario, libc_calls, BlockingCalls::park));
  return is_same;
}

/// As a kernel that knows neither RWF_NOWAIT nor pidfds.
void use_old_kernel() {
  sys.preadv2 = [](int, const iovec*, int, off_t, int) -> ssize_t { return errno = EOPNOTSUPP, -1; };
  sys.pwritev2 = [](int, const iovec*, int, off_t, int) -> ssize_t { return errno = EOPNOTSUPP, -1; };
  sys.pidfd_open = [](pid_t, unsigned) { return errno = ENOSYS, -1; };
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ::signal(SIGPIPE, SIG_IGN);
  ::alarm(120);  // whatever hangs
  bool lists = false, shows_trace = false, needs_library = false;
  std::vector<std::string_view> names;
  for (const char* argument : std::vector<const char*>(argv + 1, argv + argc)) {
    const std::string_view text = argument;
    if (text == "--list")
      lists = true;
    else if (text == "--trace")
      shows_trace = true;
    else if (text == "--library")
      needs_library = true;
    else if (text == "--old-kernel")
      use_old_kernel();
    else
      names.push_back(text);
  }
  std::ostringstream findings;
  const bool has_library = posix::check_blocking_library(findings);
  if (needs_library && !has_library) {
    std::cerr << findings.str();
    return 1;
  }
  int failure_count = 0, count = 0;
  for (const Scenarios* all :
       {&stream_scenarios(), &file_scenarios(), &connection_scenarios(), &waiting_scenarios(), &further_scenarios()})
    for (const Scenario& scenario : *all) {
      if (lists) std::printf("%s\n", scenario.name);
      const auto is_meant = [&](std::string_view name) { return std::string_view(scenario.name).starts_with(name); };
      if (lists || (!names.empty() && std::none_of(names.begin(), names.end(), is_meant))) continue;
      if (shows_trace) std::printf("%s\n", scenario.name);
      ++count;
      failure_count += run_scenario(scenario, has_library, shows_trace) ? 0 : 1;
    }
  std::printf("%d scenarios, %d differ\n", count, failure_count);
  return failure_count == 0 ? 0 : 1;
}
