// wait: until some of several futures, or all of them, are done.  Floor 5, tasks.
#pragma once
#include <tulp/as_completed.hpp>
#include <tulp/detail/future_watch.hpp>
#include <tulp/duration.hpp>
#include <tulp/gather.hpp>
#include <tulp/shield.hpp>
#include <tulp/task_group.hpp>
#include <tulp/timeout.hpp>

#include <cstdint>
#include <vector>

namespace tulp {

/// When wait() returns.  FIRST_EXCEPTION: with the first that fails, a cancellation not being a failure, or else with the
/// last one.
enum class ReturnWhen : std::uint8_t { ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION };
using enum ReturnWhen;

struct WaitOptions {
  Duration timeout = Duration::max();
  ReturnWhen return_when = ALL_COMPLETED;
};

/// The futures that wait() was given, each once, in their order.
template <class H>
struct WaitResult {
  std::vector<H> done;
  std::vector<H> pending;
};

namespace detail {
/// As wait(), for what is not empty.
void wait_for_several(const std::vector<Ref<FutureState>>& futures, const WaitOptions& options);
}  // namespace detail

/// Waits for the futures or tasks of `range`, and says which are done; looks at none of their results, and cancels none.
/// Parks: until `return_when` is fulfilled, or the time is over; others run once even if that is so already.
/// Cancel: leaves the futures alone.
/// Throws: std::invalid_argument - the range is empty; InvalidStateError - outside a task, or the futures belong to
/// different loops.
/// Source: asyncio.wait.
template <detail::AwaitableRange Range>
WaitResult<std::ranges::range_value_t<Range>> wait(Range&& range, WaitOptions options = {}) {
  detail::DistinctHandles<std::ranges::range_value_t<Range>> distinct(range, "wait");
  detail::wait_for_several(distinct.states, options);
  WaitResult<std::ranges::range_value_t<Range>> result;
  for (auto& handle : distinct.handles) (handle.done() ? result.done : result.pending).push_back(std::move(handle));
  return result;
}

}  // namespace tulp
