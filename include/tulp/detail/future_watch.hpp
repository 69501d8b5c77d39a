// FutureWatch: hears of the ends of several futures.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_state.hpp>
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/error.hpp>

#include <cstddef>
#include <cstdint>
#include <ranges>
#include <type_traits>
#include <vector>

namespace tulp::detail {

/// Watches futures until they end, or it does.  Hears of each end once, in its turn, as a done callback does.
class FutureWatch {
 public:
  FutureWatch(const FutureWatch&) = delete;
  FutureWatch& operator=(const FutureWatch&) = delete;

 protected:
  FutureWatch() = default;
  ~FutureWatch();

  /// `future`, the `index`-th, has ended.
  virtual void on_end(Ref<FutureState> future, std::size_t index) noexcept = 0;
  /// spread_cancel() has come to a future that has not ended.  False if its end is of no interest any more.
  virtual bool cancel_one(FutureState& future, bool is_awaited_by_others, const CancelReason& reason) noexcept;
  /// spread_cancel() has come to all of them.  This may end the watch.
  virtual void on_spread() noexcept {}

  void watch(FutureState& future, std::size_t index, Waiter::Role role = Waiter::Role::waits);
  /// Hears of nothing any more.
  void forget_all() noexcept;
  /// Calls `f(future)` for each that on_end() has not been called for.
  template <class F>
  void for_each_watched(F f) {
    entries_.for_each([&](Entry& entry) { f(*entry.future); });
  }
  /// Calls cancel_one() for each that has not ended.  Where that comes to another watch, it is carried on when this one
  /// is through: no recursion, however deep they are nested.  False if this watch has had its turn in the very spread that
  /// comes to it again: what it waits for waits for it.
  bool spread_cancel(CancelReason reason) noexcept;

 private:
  struct Entry final : Waiter, Runnable, ListHook<Entry> {
    Entry(FutureWatch& watch, Ref<FutureState> watched, std::size_t number, Role role) noexcept
        : Waiter(static_cast<Runnable&>(*this), role), owner(&watch), future(std::move(watched)), index(number) {}
    void run() noexcept override;
    void discard() noexcept override { delete this; }
    Origin origin() const override;

    FutureWatch* owner;
    Ref<FutureState> future;
    std::size_t index;
  };
  static void forget(Entry& entry) noexcept;

  struct SpreadHook : ListHook<SpreadHook> {
    explicit SpreadHook(FutureWatch& w) noexcept : watch(w) {}
    FutureWatch& watch;
  };

  IntrusiveList<Entry> entries_;  // they own themselves
  SpreadHook spread_hook_{*this};
  CancelReason spread_reason_;
  std::uint64_t last_spread_ = 0;
};

/// A handle whose end can be waited for: Future, Task, TaskHandle.
template <class H>
concept Awaitable = requires(const H& handle) {
  { handle.state().get() } -> std::convertible_to<FutureState*>;
};
/// One with a result.
template <class H>
concept AnyFuture = Awaitable<H> && requires {
  typename H::value_type;
};

template <class R>
concept AwaitableRange = std::ranges::input_range<R> && Awaitable<std::ranges::range_value_t<R>>;
template <class R>
concept FutureRange = std::ranges::input_range<R> && AnyFuture<std::ranges::range_value_t<R>>;

/// Throws: InvalidStateError - an empty handle.
inline FutureState& state_of(FutureState* state, const char* function) {
  if (state == nullptr) throw InvalidStateError(std::string(function) + ": a handle that names no task");
  return *state;
}

/// The loop that all of them belong to.  Throws: InvalidStateError - they belong to several.
EventLoop& common_loop(const std::vector<Ref<FutureState>>& futures, const char* function);

/// The handles of `range`, each future once, in the order of their first appearance, and their states.
template <class H>
struct DistinctHandles {
  template <AwaitableRange R>
  DistinctHandles(R&& range, const char* function);

  std::vector<H> handles;
  std::vector<Ref<FutureState>> states;
};
/// Which of `futures` are not to be found before them.
std::vector<bool> first_appearances(const std::vector<Ref<FutureState>>& futures);

template <class H>
template <AwaitableRange R>
DistinctHandles<H>::DistinctHandles(R&& range, const char* function) {
  std::vector<H> all_handles;
  std::vector<Ref<FutureState>> all_states;
  for (const H& handle : range) {
    all_states.push_back(Ref<FutureState>::share(&state_of(handle.state().get(), function)));
    all_handles.push_back(handle);
  }
  const std::vector<bool> is_first = first_appearances(all_states);
  for (std::size_t i = 0; i < all_handles.size(); ++i) {
    if (!is_first[i]) continue;
    handles.push_back(std::move(all_handles[i]));
    states.push_back(std::move(all_states[i]));
  }
}

}  // namespace tulp::detail
