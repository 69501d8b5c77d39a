// Stage: what a scenario of blocking calls does everything by, on threads or in tasks, and what it has seen.
#pragma once
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/blocking_library.hpp"

namespace tulp::test {

using Calls = detail::BlockingCallTable;

/// Another flow of control, beside the scenario's own.
class Flow {
 public:
  virtual ~Flow() = default;
  virtual void join() = 0;
};

class Stage {
 public:
  explicit Stage(const Calls& its_calls) noexcept : calls(its_calls) {}
  virtual ~Stage() = default;
  virtual std::unique_ptr<Flow> start(std::function<void()> body) = 0;

  void note(std::string line) { trace.push_back(std::move(line)); }
  /// Notes what `call()` returns, and errno if it fails; if it does not, errno must be as it was.
  template <class Call>
  auto see(std::string_view what, Call call) {
    errno = 0;
    const auto result = call();
    note(std::string(what) + ": " + outcome(static_cast<long>(result)));
    return result;
  }
  /// The same, and whether that took `milliseconds`, at least.  Nothing is said of how much more it was: the machine is
  /// busy at times.
  template <class Call>
  auto see_wait(std::string_view what, int milliseconds, Call call) {
    const double begin = now();
    const auto result = see(what, call);
    const double took = (now() - begin) * 1000;
    note(took >= milliseconds - 10 ?  // the kernel counts some limits in ticks of 4 ms
             "  after the time"
                                   : "  too early: " + std::to_string(took) + " ms");
    return result;
  }
  /// For what may be any part of the whole.
  static std::string part(long count, std::size_t size) {
    return count <= 0 ? std::to_string(count) : static_cast<std::size_t>(count) < size ? "a part" : "all";
  }
  void pause(int milliseconds) const;
  static double now();
  static std::string outcome(long result);

  const Calls& calls;
  std::vector<std::string> trace;
};

struct Scenario {
  const char* name;
  void (*run)(Stage&);
};
using Scenarios = std::vector<Scenario>;

// A file each.
const Scenarios& stream_scenarios();
const Scenarios& file_scenarios();
const Scenarios& connection_scenarios();
const Scenarios& waiting_scenarios();
const Scenarios& further_scenarios();

}  // namespace tulp::test
