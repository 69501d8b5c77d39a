// run: a test's main function on a test loop.  Floor 9, testing.
#pragma once
#include <tulp/run.hpp>
#include <tulp/testing/hold.hpp>
#include <tulp/testing/test_loop.hpp>

namespace tulp::testing {

namespace detail {
/// Says on stderr with which seed `loop` ran, if an exception ends this object's scope.
class SeedReport {
 public:
  explicit SeedReport(const EventLoop& loop);
  SeedReport(const SeedReport&) = delete;
  SeedReport& operator=(const SeedReport&) = delete;
  ~SeedReport();

 private:
  std::optional<std::uint64_t> seed_;
  int exception_count_;
};
}  // namespace detail

/// As tulp::run(), on a new test loop: an hour of sleeps takes no time.  If it throws, the seed is printed on stderr.
/// Throws: as tulp::run(); DeadlockError - main can never end.
template <class F>
[[gnu::noinline]] auto run(F&& main, const TestOptions& options = {}) {
  const void* caller = TULP_CALLER;
  tulp::detail::Runner runner(new_test_loop(options), options.drain);
  const detail::SeedReport report(runner.loop());
  return tulp::detail::run_main_task(runner, caller, std::decay_t<F>(std::forward<F>(main)));
}

}  // namespace tulp::testing
