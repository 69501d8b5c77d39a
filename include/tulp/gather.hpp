// gather: the results of several futures, together.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_watch.hpp>
#include <tulp/future.hpp>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tulp {

struct GatherOptions {
  /// Waits for all, also when some fail.  In the place of a failed one's result stands T(); the error stays where it is,
  /// in the future itself, and is reported if nobody asks for it there.
  bool return_exceptions = false;
};

namespace detail {

/// What a gather does without its types.  Lives in the future that it fulfils.
class Gathering : private FutureWatch {
 protected:
  Gathering(FutureState& outer, GatherOptions options) : outer_(outer), options_(options) {}
  ~Gathering() = default;

  void begin(std::vector<Ref<FutureState>> children);
  /// False if every child has ended.
  bool cancel_children(const CancelReason& reason) noexcept;
  /// All have ended, and nothing prevents a result.
  virtual void collect() = 0;
  virtual void end_cancelled(CancelReason reason) noexcept = 0;

  const std::vector<Ref<FutureState>>& children() const noexcept { return children_; }
  /// The result of the `index`-th, or T() if it has none.
  template <class T>
  T result_of(std::size_t index) const {
    auto& child = static_cast<FutureStateOf<T>&>(*children_[index]);
    if constexpr (!std::is_void_v<T> && std::is_default_constructible_v<T>) {
      if (child.status() != FutureState::Status::has_value) return T();
    }
    return child.get(child.is_unique());
  }

 private:
  void on_end(Ref<FutureState> child, std::size_t index) noexcept override;
  bool cancel_one(FutureState& child, bool is_awaited_by_others, const CancelReason& reason) noexcept override;
  void on_spread() noexcept override;
  void conclude() noexcept;
  void fail(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace = nullptr) noexcept;

  FutureState& outer_;
  GatherOptions options_;
  std::vector<Ref<FutureState>> children_;
  std::size_t pending_count_ = 0;
  std::exception_ptr error_;  // the first one that came after cancel()
  std::shared_ptr<const ThrowTrace> trace_;
  CancelReason reason_;               // of cancel()
  bool is_cancel_asked_ = false;      // of the gather itself
  bool was_child_cancelled_ = false;  // or is waited for by others, and was left to them
};

template <class Value, class Collect>
class GatherState final : public FutureStateOf<Value>, private Gathering {
 public:
  GatherState(EventLoop& loop, const void* created_at, GatherOptions options)
      : FutureStateOf<Value>(loop, created_at), Gathering(static_cast<FutureState&>(*this), options) {}
  using Gathering::begin;

  std::string description() const override { return "gather"; }
  bool cancel(CancelReason reason) override {
    return this->is_done() ? FutureState::cancel(std::move(reason)) : this->cancel_children(reason);
  }

 private:
  void collect() override {
    if constexpr (std::is_void_v<Value>)
      this->set_value();
    else
      this->set_value(Collect()(
          [this]<class T>(std::type_identity<T>, std::size_t index) -> T { return this->template result_of<T>(index); },
          this->children().size()));
  }
  void end_cancelled(CancelReason reason) noexcept override { this->finish_cancelled(std::move(reason)); }
};

template <class T>
struct CollectVector {
  template <class ResultOf>
  std::vector<T> operator()(ResultOf result_of, std::size_t count) const {
    std::vector<T> results;
    results.reserve(count);
    for (std::size_t i = 0; i < count; ++i) results.push_back(result_of(std::type_identity<T>(), i));
    return results;
  }
};
template <>
struct CollectVector<void> {};

template <class T>
using MonostateIfVoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class... Ts>
struct CollectTuple {
  template <class ResultOf>
  std::tuple<MonostateIfVoid<Ts>...> operator()(ResultOf result_of, std::size_t) const {
    std::size_t index = 0;
    [[maybe_unused]] const auto next = [&]<class T>(std::type_identity<T> type) -> MonostateIfVoid<T> {
      if constexpr (std::is_void_v<T>) {
        ++index;
        return {};
      } else {
        return result_of(type, index++);
      }
    };
    return {next(std::type_identity<Ts>())...};  // from left to right, as braces demand
  }
};

template <class Value, class Collect>
Future<Value> start_gather(const void* caller, std::vector<Ref<FutureState>> children, GatherOptions options) {
  EventLoop& loop = children.empty() ? loop_for_new_object() : common_loop(children, "gather");
  using State = GatherState<Value, Collect>;
  auto state = Ref<State>::adopt(new State(loop, caller, options));
  state->begin(std::move(children));
  return Future<Value>(Ref<FutureStateOf<Value>>(std::move(state)));
}

}  // namespace detail

/// A future with the results of all `futures`, in their order; std::monostate stands for void.  It fails with the first of
/// them that fails, or with FutureCancelledError if one is cancelled by somebody else; the others run on, and what
/// becomes of them is nobody's concern any more.  One that is given twice counts once.  If the last handle to the gather
/// is dropped before it is done, nothing is cancelled, and each failure is reported by itself.
///
/// Does not park: await(gather(...)) does.
/// Cancel: cancels those that nobody else waits for, and that are not done; the gather is done when these have ended.  An
/// error of one of them wins over the cancellation, and so do the results if all of them come to one nevertheless.
/// Throws: InvalidStateError - the futures belong to different event loops.
/// Source: asyncio.gather, which cancels all of them, and drops results and errors that come after that.
template <detail::AnyFuture... Futures>
[[gnu::noinline]] auto gather(const Futures&... futures)
    -> Future<std::tuple<detail::MonostateIfVoid<typename Futures::value_type>...>> {
  std::vector<detail::Ref<detail::FutureState>> children;
  children.reserve(sizeof...(futures));
  (children.push_back(detail::Ref<detail::FutureState>::share(futures.state().get())), ...);
  return detail::start_gather<std::tuple<detail::MonostateIfVoid<typename Futures::value_type>...>,
                              detail::CollectTuple<typename Futures::value_type...>>(TULP_CALLER, std::move(children),
                                                                                     {});
}

/// The same of a range of Future or Task.  A Future<std::vector<T>>, or a Future<> if T is void; of an empty range, it is
/// done at once.
/// Throws: as above; std::invalid_argument - `return_exceptions` where there is no T().
template <detail::FutureRange Range>
[[gnu::noinline]] auto gather(Range&& range, GatherOptions options = {}) {
  using T = typename std::ranges::range_value_t<Range>::value_type;
  if constexpr (!std::is_void_v<T> && !std::is_default_constructible_v<T>) {
    if (options.return_exceptions)
      throw std::invalid_argument(
          "gather: return_exceptions, and no value that could stand for a result that is missing");
  }
  std::vector<detail::Ref<detail::FutureState>> children;
  for (const auto& future : range) children.push_back(detail::Ref<detail::FutureState>::share(future.state().get()));
  if constexpr (std::is_void_v<T>)
    return detail::start_gather<void, detail::CollectVector<void>>(TULP_CALLER, std::move(children), options);
  else
    return detail::start_gather<std::vector<T>, detail::CollectVector<T>>(TULP_CALLER, std::move(children), options);
}

}  // namespace tulp
