// as_completed: futures in the order in which they end.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_watch.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/duration.hpp>
#include <tulp/handle.hpp>

#include <cstddef>
#include <deque>
#include <iterator>
#include <utility>
#include <vector>

namespace tulp {

struct AsCompletedOptions {
  /// For all of them together, from the call on.
  Duration timeout = Duration::max();
};

namespace detail {

/// Which of several futures have ended, in the order of their ends.
class Completions final : private FutureWatch {
 public:
  Completions(const std::vector<Ref<FutureState>>& futures, Duration timeout);
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;
  ~Completions() { timer_.cancel(); }

  bool is_any_left() const noexcept { return left_count_ > 0; }
  /// The number of the next one.  Parks: until one has ended.  Cancel: nothing is lost.
  /// Throws: TimeoutError - the time is over; InvalidStateError - outside a task.
  std::size_t next();

 private:
  void on_end(Ref<FutureState> future, std::size_t index) noexcept override;

  std::size_t left_count_;
  Duration timeout_;
  bool is_over_ = false;
  TimerHandle timer_;
  std::deque<std::size_t> ended_;
  WaitQueue waiting_;
};

}  // namespace detail

/// What as_completed() gives: a range to go through once.
template <class H>
class AsCompleted {
 public:
  class iterator {
   public:
    using value_type = H;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    H& operator*() const { return *current_; }
    H* operator->() const { return current_; }
    iterator& operator++() {
      current_ = range_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept { return at.current_ == nullptr; }

   private:
    friend class AsCompleted;
    explicit iterator(AsCompleted& range) : range_(&range), current_(range.next()) {}
    AsCompleted* range_;
    H* current_;
  };

  AsCompleted(detail::DistinctHandles<H> distinct, Duration timeout)
      : handles_(std::move(distinct.handles)), completions_(distinct.states, timeout) {}

  /// To be called once.  This, and ++, park until the next one has ended.
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return std::default_sentinel; }

 private:
  H* next() { return completions_.is_any_left() ? &handles_[completions_.next()] : nullptr; }

  std::vector<H> handles_;
  detail::Completions completions_;
};

/// The futures or tasks of `range`, in the order in which they end:
///
///   for (const Task<Page>& task : as_completed(tasks)) use(task.result());
///
/// Each comes once, done, and is the one that was given.
/// Parks: each step of the loop, until the next one has ended.
/// Cancel: cancels the step, and none of the futures.
/// Throws: TimeoutError, from a step - the time is over, and no other one had ended by then; the rest go on;
/// InvalidStateError - outside a task, or the futures belong to different loops.
/// Source: asyncio.as_completed, as it is since Python 3.13.
template <detail::AwaitableRange Range>
AsCompleted<std::ranges::range_value_t<Range>> as_completed(Range&& range, AsCompletedOptions options = {}) {
  using H = std::ranges::range_value_t<Range>;
  return AsCompleted<H>(detail::DistinctHandles<H>(range, "as_completed"), options.timeout);
}

}  // namespace tulp
