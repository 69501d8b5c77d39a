// select: the first of several queues, futures and a timer.  Floor 6, sync.
#pragma once
#include <tulp/detail/selection.hpp>
#include <tulp/duration.hpp>
#include <tulp/future.hpp>
#include <tulp/queue.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {

template <class Queue, class F>
class GetAlternative final : public Alternative {
 public:
  GetAlternative(Queue& queue, F then) : queue_(queue), then_(std::move(then)) {}

  bool try_now() override {
    if (!queue_.can_get()) return false;
    item_.emplace(queue_.get_nowait());
    return true;
  }
  void enlist(TaskControl& me) override { queue_.enlist(getter_.emplace(me, queue_, this)); }
  void withdraw() noexcept override {
    if (getter_) getter_->undo();
  }
  void take_effect() {
    if (!item_ && !getter_->item) throw QueueShutDown();
    std::invoke(then_, std::move(item_ ? *item_ : *getter_->item));
  }

 private:
  Queue& queue_;
  F then_;
  std::optional<typename Queue::Item> item_;
  std::optional<typename Queue::Getter> getter_;
};

template <class Queue, class F>
class PutAlternative final : public Alternative {
 public:
  PutAlternative(Queue& queue, typename Queue::Item& item, F then)
      : queue_(queue), item_(item), then_(std::move(then)) {}

  bool try_now() override {
    if (!queue_.can_put()) return false;
    queue_.put_nowait(std::move(item_));
    return true;
  }
  void enlist(TaskControl& me) override { queue_.enlist(putter_.emplace(me, queue_, item_, this)); }
  void withdraw() noexcept override {
    if (putter_) putter_->undo();
  }
  void take_effect() {
    if (putter_ && putter_->error) std::rethrow_exception(putter_->error);
    std::invoke(then_);
  }

 private:
  Queue& queue_;
  typename Queue::Item& item_;
  F then_;
  std::optional<typename Queue::Putter> putter_;
};

class DoneAlternative : public Alternative, private Waiter, private Runnable {
 public:
  explicit DoneAlternative(FutureState& future) noexcept : Waiter(static_cast<Runnable&>(*this)), future_(future) {}
  bool try_now() override { return future_.is_done(); }
  void enlist(TaskControl& me) override;
  void withdraw() noexcept override { unlink(); }

 protected:
  ~DoneAlternative() = default;

 private:
  void run() noexcept override { choose(); }
  FutureState& future_;
};

template <class H, class F>
class DoneAlternativeOf final : public DoneAlternative {
 public:
  DoneAlternativeOf(H future, F then)
      : DoneAlternative(*future.state()), future_(std::move(future)), then_(std::move(then)) {}
  void take_effect() { std::invoke(then_, std::move(future_)); }

 private:
  H future_;
  F then_;
};

class TimeAlternative : public Alternative, private Runnable {
 public:
  explicit TimeAlternative(Duration limit) noexcept : limit_(limit) {}
  bool try_now() override { return limit_ <= Duration::zero(); }
  void enlist(TaskControl& me) override;
  void withdraw() noexcept override;

 protected:
  ~TimeAlternative() = default;

 private:
  void run() noexcept override { choose(); }
  Duration limit_;
  EventLoop* loop_ = nullptr;
  Timer timer_{*this};
};

template <class F>
class TimeAlternativeOf final : public TimeAlternative {
 public:
  TimeAlternativeOf(Duration limit, F then) : TimeAlternative(limit), then_(std::move(then)) {}
  void take_effect() { std::invoke(then_); }

 private:
  F then_;
};

}  // namespace detail

// The alternatives of select().  They refer to what they are given, and are to be made in the call of select() itself.

/// An item of `queue`: `then(item)`.
template <class Queue, class F>
auto on_get(Queue& queue, F then) {
  return detail::GetAlternative<typename Queue::Base, F>(queue, std::move(then));
}
/// `item` was put into `queue`, and is moved from only then: `then()`.
template <class Queue, class F>
auto on_put(Queue& queue, typename Queue::Item& item, F then) {
  return detail::PutAlternative<typename Queue::Base, F>(queue, item, std::move(then));
}
template <class Queue, class F>
auto on_put(Queue& queue, typename Queue::Item&& item, F then) {
  return detail::PutAlternative<typename Queue::Base, F>(queue, item, std::move(then));
}
/// A Future or Task is done: `then(future)`.
template <class H, class F>
auto on_done(H future, F then) {
  return detail::DoneAlternativeOf<H, F>(std::move(future), std::move(then));
}
/// None of the others came within `limit`: `then()`.  Of zero, that none of those before it was there at once.
template <class F>
auto on_timeout(Duration limit, F then) {
  return detail::TimeAlternativeOf<F>(limit, std::move(then));
}

/// Waits for several things, of which exactly one takes place; then calls what belongs to it.
///
///   select(on_get(jobs, [&](Job job) { work(job); }),
///          on_put(results, result, [&] { ++sent; }),
///          on_done(stopped, [&](Future<>) { stop(); }),
///          on_timeout(10s, [&] { report("nothing to do"); }));
///
/// The number of the one that took place.  Of several that can at once it is the one that is written first; else the one
/// that is first to be possible.  Of the others nothing is taken, put or cancelled.
/// Parks: until one takes place; now and then even if one can at once, so that others get their turn.
/// Cancel: nothing has taken place.
/// Throws: QueueShutDown - of the first alternative whose queue is shut down, as its get() or put(); what is thrown by the
/// function that it calls; InvalidStateError - outside a task, or a future of another loop.
/// Source: tulp only; after Go's select statement.
template <class... Alternatives>
requires(sizeof...(Alternatives) > 0 && (std::derived_from<std::remove_cvref_t<Alternatives>, detail::Alternative> &&
                                         ...)) std::size_t select(Alternatives&&... alternatives) {
  detail::Alternative* const list[] = {&alternatives...};
  const std::size_t chosen = detail::select_one(list);
  std::size_t index = 0;
  static_cast<void>(((index++ == chosen ? (alternatives.take_effect(), true) : false) || ...));
  return chosen;
}

}  // namespace tulp
