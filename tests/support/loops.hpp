// LoopTest: a fixture that runs a test's body on every kind of loop, and checks that nothing is left behind.
#pragma once
#include <tulp/event_loop.hpp>
#include <tulp/loop_host.hpp>
#include <tulp/task.hpp>
#include <tulp/testing/test_loop.hpp>

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/code_address.hpp"
#include "support/catch.hpp"
#include "support/leaks.hpp"
#include "support/poll_event_loop.hpp"

namespace tulp::test {

using namespace std::chrono_literals;

enum class LoopKind { epoll, poll, select, io_uring, foreign };

/// The host that the suite runs with, TULP_TEST_LOOP, or null: then that host's policy makes every loop (see hosts.cpp),
/// and each waits by epoll.
inline const char* tested_host() { return std::getenv("TULP_TEST_LOOP"); }

/// The seed that the suite runs with, TULP_SEED, or null: the library's loops are then test loops, which that seed disturbs.
inline const char* tested_seed() { return std::getenv("TULP_SEED"); }
inline bool is_disturbed() { return tested_seed() != nullptr; }

/// Whether the library was built with io_uring, and this kernel allows it.
inline bool has_io_uring() {
  static const bool has = [] {
    try {
      new_event_loop({.selector = SelectorKind::io_uring})->close();
      return tested_host() == nullptr;
    } catch (const std::exception&) {
      return false;
    }
  }();
  return has;
}

/// Each seed disturbs one kind, in turn; foreign loops, which know of no seed, are not run again.
inline std::vector<LoopKind> loop_kinds() {
  if (tested_host() != nullptr) return {LoopKind::epoll};
  std::vector kinds{LoopKind::epoll, LoopKind::poll, LoopKind::select};
  if (has_io_uring()) kinds.push_back(LoopKind::io_uring);
  if (is_disturbed()) return {kinds[std::strtoul(tested_seed(), nullptr, 10) % kinds.size()]};
  kinds.push_back(LoopKind::foreign);
  return kinds;
}

/// Those whose streams make a system call for what they do, so that it can be counted, or made to fail.
inline std::vector<LoopKind> calling_loop_kinds() {
  std::vector<LoopKind> kinds = loop_kinds();
  if (kinds.size() > 1)
    std::erase(kinds, LoopKind::io_uring);
  else
    std::replace(kinds.begin(), kinds.end(), LoopKind::io_uring, LoopKind::epoll);  // the one that is disturbed
  return kinds;
}
/// Those that report each edge by itself.
inline bool has_edges(LoopKind kind) { return kind == LoopKind::epoll || kind == LoopKind::io_uring; }

/// For a test that makes its loop by itself.
inline SelectorKind any_selector() {
  if (tested_host() != nullptr) return SelectorKind::epoll;
  return GENERATE(SelectorKind::epoll, SelectorKind::poll, SelectorKind::select);
}

inline const char* name_of(LoopKind kind) {
  switch (kind) {
    case LoopKind::epoll: return "epoll";
    case LoopKind::poll: return "poll";
    case LoopKind::select: return "select";
    case LoopKind::io_uring: return "io_uring";
    case LoopKind::foreign: return "a foreign loop with a manual clock";
  }
  return "?";
}

inline std::unique_ptr<EventLoop> make_hosted_loop() {
  auto loop = new_event_loop();
  if (host_of(*loop) == nullptr) throw std::logic_error("the suite's policy has been lost");
  return loop;
}

inline std::unique_ptr<EventLoop> make_loop(LoopOptions options, testing::Time time = testing::Time::real) {
  if (is_disturbed()) return testing::new_test_loop({.loop = options});
  if (time == testing::Time::jumping) return testing::new_test_loop({.settle = 10ms, .loop = options});
  return tested_host() != nullptr ? make_hosted_loop() : new_event_loop(options);
}

inline std::unique_ptr<EventLoop> make_loop(LoopKind kind, testing::Time time = testing::Time::real) {
  switch (kind) {
    case LoopKind::epoll: return make_loop({.selector = SelectorKind::epoll}, time);
    case LoopKind::poll: return make_loop({.selector = SelectorKind::poll}, time);
    case LoopKind::select: return make_loop({.selector = SelectorKind::select}, time);
    case LoopKind::io_uring: return make_loop({.selector = SelectorKind::io_uring}, time);
    case LoopKind::foreign: break;
  }
  return std::make_unique<PollEventLoop>();
}

inline std::size_t open_fd_count() {
  static const std::string warm = describe_code_address(__builtin_return_address(0));  // libdw keeps a descriptor
  std::size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

/// A descriptor that signals arrive on is kept for the next loop, for the process's life: the tests' count of descriptors
/// begins when there is one.
struct WarmSignals {
  WarmSignals() {
    const auto loop = new_event_loop();
    loop->add_signal_handler(SIGUSR1, [] {});
  }
};

/// Lets this process have `count` descriptors; false if it may not.
inline bool allow_descriptors(rlim_t count) {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = std::min(limit.rlim_max, std::max(limit.rlim_cur, count));
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit.rlim_cur >= count;
}

/// The order in which things happened, to be compared with the promised one.
using Trace = std::vector<std::string>;

/// A body that runs before its caller goes on. Whatever the body, this is one type for each result, and so is the task that
/// runs it: a task for each of the many hundred lambdas of the suite would take minutes to compile.
template <class R>
class Body {
 public:
  template <class F>
  requires(!std::same_as<F, Body>) explicit Body(F& body)
      : body_(&body),
        call_([](const void* of_body) -> R { return (*static_cast<F*>(const_cast<void*>(of_body)))(); }) {}
  R operator()() const { return call_(body_); }

 private:
  const void* body_;
  R (*call_)(const void*);
};

/// One loop, set for this thread.  A test that expects a report takes it; at the end none may be left over, no task may
/// be pending, and no descriptor may be open and no stack in use that was not before.
class LoopTest {
 public:
  LoopTest() : LoopTest(GENERATE(from_range(kinds()))) {}
  explicit LoopTest(LoopKind kind, testing::Time time = testing::Time::real)
      : kind_(kind),
        time_(time),
        info_(Catch::MessageBuilder("INFO", CATCH_INTERNAL_LINEINFO, Catch::ResultWas::Info)
              << "the loop is " << name_of(kind) << (tested_host() != nullptr ? ", in a host" : "")),
        loop_(make_loop(kind, time)) {
    set_event_loop(loop_.get());
    loop_->set_exception_handler([this](EventLoop&, const ExceptionContext& context) { reports_.push_back(context); });
  }
  LoopTest(const LoopTest&) = delete;
  LoopTest& operator=(const LoopTest&) = delete;
  ~LoopTest() noexcept(false) {
    const bool is_checked = std::uncaught_exceptions() == uncaught_at_start_;
    if (is_checked && !loop_->is_closed()) CHECK(loop_->tasks().empty());
    loop_->close();
    set_event_loop(nullptr);
    const auto left_over = take_reports();
    loop_.reset();
    if (!is_checked) return;
    for (const ExceptionContext& report : left_over) {
      UNSCOPED_INFO("an unexpected report: " << report.message << " (" << describe(report.exception) << ")");
      CHECK(left_over.empty());
    }
    CHECK(open_fd_count() == fd_count_at_start_);
    CHECK(mapped_slab_count() == slab_count_at_start_);
  }

  static std::vector<LoopKind> kinds() { return loop_kinds(); }
  LoopKind kind() const { return kind_; }
  EventLoop& loop() { return *loop_; }

  /// Runs `body` as a task until it ends; its result, or throws what it threw.
  template <class F>
  auto run(F&& body) {
    return loop_->run_until_complete(Body<std::invoke_result_t<F&>>(body));
  }
  /// Lets everything run that is ready, once: poll, batch, and no more.
  void run_once() {
    loop_->stop();
    loop_->run_forever();
  }
  bool is_test_loop() const {
    return kind_ != LoopKind::foreign && (is_disturbed() || time_ == testing::Time::jumping);
  }
  /// Lets time pass in which the loop does nothing, so that everything that is due by then is due at once.
  void let_pass(Duration time) {
    if (auto* foreign = dynamic_cast<PollEventLoop*>(loop_.get())) return foreign->advance(time);
    if (is_test_loop()) return testing::skip_time(*loop_, time);
    const TimePoint end = after(loop_->time(), time);
    while (loop_->time() < end) {
    }
  }
  /// What reached the exception handler since the last call.
  std::vector<ExceptionContext> take_reports() { return std::exchange(reports_, {}); }
  std::size_t report_count() const { return reports_.size(); }

 private:
  int uncaught_at_start_ = std::uncaught_exceptions();
  std::size_t fd_count_at_start_ = open_fd_count();
  std::size_t slab_count_at_start_ = mapped_slab_count();
  LoopKind kind_;
  testing::Time time_;
  Catch::ScopedMessage info_;
  std::unique_ptr<EventLoop> loop_;
  std::vector<ExceptionContext> reports_;
};

/// A fixture for what depends on which of two things comes first, or within a limit: time jumps when there is nothing else
/// to do, so that a busy machine changes nothing. A host's time is real: there the foreign loop stands in.
template <class Test = LoopTest>
class InVirtualTime : public Test {
 public:
  InVirtualTime() : Test(GENERATE(from_range(kinds())), testing::Time::jumping) {}

 private:
  static std::vector<LoopKind> kinds() {
    return tested_host() != nullptr ? std::vector{LoopKind::foreign} : Test::kinds();
  }
};

/// One pass of everything that is ready; for use inside a task.
inline void let_others_run(int times = 1) {
  for (int i = 0; i < times; ++i) sleep(0s);
}

}  // namespace tulp::test
