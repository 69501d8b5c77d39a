// staggered_race: several ways to the same end, each given a head start.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_watch.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/duration.hpp>
#include <tulp/gather.hpp>
#include <tulp/task.hpp>

#include <cstddef>
#include <exception>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace tulp {

template <class T>
struct StaggeredRaceResult {
  /// What the winner returned, std::monostate for void; none: none has won.
  std::optional<detail::MonostateIfVoid<T>> winner;
  /// Which one that was.
  std::optional<std::size_t> index;
  /// What each that was begun has thrown: null for the winner, and for one that came to a result too late;
  /// FutureCancelledError for one that was cut short.
  std::vector<std::exception_ptr> errors;
};

namespace detail {

class StaggeredRace final : private FutureWatch {
 public:
  using Begin = UniqueFunction<Ref<FutureState>(std::size_t)>;
  StaggeredRace(std::size_t count, Duration delay);
  ~StaggeredRace() { timer_.cancel(); }

  /// The winner's number.  Parks: until all that `begin` has begun have ended.
  std::optional<std::size_t> run(Begin begin);
  std::vector<std::exception_ptr> take_errors() noexcept { return std::move(errors_); }

 private:
  class RacePark;
  bool is_next_due() const noexcept;
  void wake() noexcept;
  void on_end(Ref<FutureState> attempt, std::size_t index) noexcept override;

  TaskControl& me_;
  std::size_t count_;
  Duration delay_;
  TimePoint next_at_{};
  TimerHandle timer_;
  std::size_t running_count_ = 0;
  WaitEntry* parked_ = nullptr;
  std::optional<std::size_t> winner_;
  std::vector<std::exception_ptr> errors_;
  std::optional<CancelReason> cancel_reason_;  // of the caller's cancellation
  bool was_cut_short_ = false;                 // by that
};

}  // namespace detail

/// Calls the functions of `range`, each in a task of its own: the first at once, each other one when the one before it has
/// failed, or `delay` after that was begun; Duration::max(): only when it has failed.  The first that returns wins, and the
/// others are cancelled.
/// Parks: until all that were begun have ended.
/// Cancel: cancels them, and comes when they have ended, unless one has won nevertheless.
/// Throws: InvalidStateError - outside a task.  That none has won is no exception: the result tells.
/// Source: asyncio.staggered.staggered_race; what connects by it is RFC 8305.
template <std::ranges::forward_range Range>
auto staggered_race(Range&& range, Duration delay) {
  using F = std::ranges::range_value_t<Range>;
  using T = std::decay_t<std::invoke_result_t<F&>>;
  std::vector<F> functions(std::ranges::begin(range), std::ranges::end(range));
  std::vector<Task<T>> tasks;
  detail::StaggeredRace race(functions.size(), delay);
  StaggeredRaceResult<T> result;
  result.index = race.run([&](std::size_t index) -> detail::Ref<detail::FutureState> {
    tasks.push_back(create_task(std::move(functions[index])));
    return tasks.back().state();
  });
  result.errors = race.take_errors();
  if (!result.index) return result;
  auto winner = std::move(tasks[*result.index]);
  if constexpr (std::is_void_v<T>)
    result.winner.emplace();
  else
    result.winner.emplace(winner.state()->get(winner.state()->is_unique()));
  return result;
}

}  // namespace tulp
