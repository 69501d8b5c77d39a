// Queue, PriorityQueue, LifoQueue: items from tasks that put to tasks that get.  Floor 6, sync.
#pragma once
#include <tulp/detail/selection.hpp>
#include <tulp/detail/wait_queue.hpp>
#include <tulp/error.hpp>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace tulp {

struct QueueShutdownOptions {
  /// Drop what is left in the queue, instead of leaving it to get().
  bool immediate = false;
};

namespace detail {

/// What the queues have in common; in which order items come out, `Items` decides.
template <class T, class Items>
class QueueOf {
 public:
  /// At most `maxsize` items lie in the queue; 0: as many as come.
  explicit QueueOf(std::size_t maxsize = 0) : maxsize_(maxsize) {}
  QueueOf(const QueueOf&) = delete;
  QueueOf& operator=(const QueueOf&) = delete;

  /// Parks: while the queue is full.  Cancel: the item is not put, and `item` is as it was.
  /// Throws: QueueShutDown - also if that comes while this waits; `item` is as it was; InvalidStateError - outside a task.
  void put(T&& item);
  void put(const T& item) { put(T(item)); }
  /// Works outside a task, too.
  /// Throws: QueueFull, QueueShutDown - `item` is as it was.
  void put_nowait(T&& item);
  void put_nowait(const T& item) { put_nowait(T(item)); }

  /// Parks: while the queue is empty.  Cancel: nothing was taken.
  /// Throws: QueueShutDown - and nothing is left; InvalidStateError - outside a task.
  T get();
  /// Works outside a task, too.
  /// Throws: QueueEmpty; QueueShutDown - and nothing is left.
  T get_nowait();

  /// The work on an item that somebody got is done.  Works outside a task, too.
  /// Throws: std::invalid_argument - called more often than items were put.
  void task_done();
  /// Parks: until task_done() was called for every item that was put; returns at once if that is so.
  /// Cancel: the queue is as it was.
  /// Throws: InvalidStateError - outside a task.
  void join();

  /// From now on put() is refused, also to those who wait in it; get() gives what is left, and is refused then.
  /// `{.immediate = true}` drops what is left, and counts it as done.  Works outside a task, too.
  void shutdown(QueueShutdownOptions options = {});

  std::size_t maxsize() const noexcept { return maxsize_; }
  std::size_t qsize() const noexcept { return items_.size(); }
  bool empty() const noexcept { return items_.size() == 0; }
  bool full() const noexcept { return maxsize_ != 0 && items_.size() >= maxsize_; }

  // For select().

  using Base = QueueOf;
  using Item = T;
  struct Getter final : WaitEntry {
    Getter(TaskControl& task, const QueueOf& from, Alternative* one_of_several = nullptr) noexcept
        : WaitEntry(task), queue(from), alternative(one_of_several) {}
    std::string description() const override { return describe_object("an item from the queue", &queue); }
    void serve() noexcept { alternative != nullptr ? alternative->choose() : this->wake(); }

    const QueueOf& queue;
    std::optional<T> item;  // none when it is served: the queue was shut down
    Alternative* alternative;
  };
  struct Putter final : WaitEntry {
    Putter(TaskControl& task, const QueueOf& into, T& put, Alternative* one_of_several = nullptr) noexcept
        : WaitEntry(task), queue(into), item(put), alternative(one_of_several) {}
    std::string description() const override { return describe_object("room in the queue", &queue); }
    void serve() noexcept { alternative != nullptr ? alternative->choose() : this->wake(); }

    const QueueOf& queue;
    T& item;
    std::exception_ptr error;
    Alternative* alternative;
  };
  /// Whether get() and put() would return, or throw, at once.
  bool can_get() const noexcept { return is_shut_down_ || !empty(); }
  bool can_put() const noexcept { return is_shut_down_ || !full(); }
  void enlist(Getter& getter) noexcept { getters_.push_back(getter); }
  void enlist(Putter& putter) noexcept { putters_.push_back(putter); }

 private:
  void admit_putters() noexcept;
  void count_done(std::size_t count) noexcept;

  Items items_;
  std::size_t maxsize_;
  std::size_t unfinished_count_ = 0;
  bool is_shut_down_ = false;
  IntrusiveList<Getter, WaitEntry> getters_;  // empty unless the queue is empty
  IntrusiveList<Putter, WaitEntry> putters_;  // empty unless the queue is full
  WaitQueue joining_;
};

template <class T>
class FifoItems {
 public:
  std::size_t size() const noexcept { return items_.size(); }
  void push(T&& item) { items_.push_back(std::move(item)); }
  T pop() {
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

 private:
  std::deque<T> items_;
};

template <class T>
class LifoItems {
 public:
  std::size_t size() const noexcept { return items_.size(); }
  void push(T&& item) { items_.push_back(std::move(item)); }
  T pop() {
    T item = std::move(items_.back());
    items_.pop_back();
    return item;
  }

 private:
  std::vector<T> items_;
};

template <class T, class Compare>
class PriorityItems {
 public:
  std::size_t size() const noexcept { return items_.size(); }
  void push(T&& item) {
    items_.push_back(std::move(item));
    std::push_heap(items_.begin(), items_.end(), comes_later);
  }
  T pop() {
    std::pop_heap(items_.begin(), items_.end(), comes_later);
    T item = std::move(items_.back());
    items_.pop_back();
    return item;
  }

 private:
  static bool comes_later(const T& a, const T& b) { return Compare()(b, a); }

  std::vector<T> items_;
};

}  // namespace detail

/// Hands items from tasks that put to tasks that get, in the order in which they were put.  It belongs to one thread, and
/// has to outlive those who wait at it.
///
/// An item that is put while somebody waits goes straight to who has waited longest: it never lies in the queue.  A place
/// that gets free goes straight to the item of who has waited longest to put.  So nobody can overtake, and what a task has
/// got cannot be lost: a cancellation that comes behind it waits for the next park.
/// Source: asyncio.Queue.
template <class T>
class Queue : public detail::QueueOf<T, detail::FifoItems<T>> {
 public:
  using detail::QueueOf<T, detail::FifoItems<T>>::QueueOf;
};

/// A queue that gives the lowest item first; `Compare` says which of two is lower, and does not throw.
/// Source: asyncio.PriorityQueue.
template <class T, class Compare = std::less<T>>
class PriorityQueue : public detail::QueueOf<T, detail::PriorityItems<T, Compare>> {
 public:
  using detail::QueueOf<T, detail::PriorityItems<T, Compare>>::QueueOf;
};

/// A queue that gives the item first that was put last.
/// Source: asyncio.LifoQueue.
template <class T>
class LifoQueue : public detail::QueueOf<T, detail::LifoItems<T>> {
 public:
  using detail::QueueOf<T, detail::LifoItems<T>>::QueueOf;
};

namespace detail {

template <class T, class Items>
void QueueOf<T, Items>::put(T&& item) {
  TaskControl& me = require_task("Queue::put");
  if (can_put()) return put_nowait(std::move(item));
  Putter putter(me, *this, item);
  enlist(putter);
  park(putter);
  if (putter.error) std::rethrow_exception(putter.error);
}

template <class T, class Items>
void QueueOf<T, Items>::put_nowait(T&& item) {
  if (is_shut_down_) throw QueueShutDown();
  if (full()) throw QueueFull();
  if (getters_.empty()) {
    items_.push(std::move(item));
  } else {
    getters_.front().item.emplace(std::move(item));
    getters_.pop_front().serve();
  }
  ++unfinished_count_;
}

template <class T, class Items>
T QueueOf<T, Items>::get() {
  TaskControl& me = require_task("Queue::get");
  if (can_get()) return get_nowait();
  Getter getter(me, *this);
  enlist(getter);
  park(getter);
  if (!getter.item) throw QueueShutDown();
  return std::move(*getter.item);
}

template <class T, class Items>
T QueueOf<T, Items>::get_nowait() {
  if (empty()) {
    if (is_shut_down_) throw QueueShutDown();
    throw QueueEmpty();
  }
  T item = items_.pop();
  admit_putters();
  return item;
}

/// An item that cannot be stored is its putter's trouble, not that of who made room for it.
template <class T, class Items>
void QueueOf<T, Items>::admit_putters() noexcept {
  while (!putters_.empty() && !full()) {
    Putter& putter = putters_.pop_front();
    try {
      items_.push(std::move(putter.item));
      ++unfinished_count_;
    } catch (...) {
      putter.error = std::current_exception();
    }
    putter.serve();
  }
}

template <class T, class Items>
void QueueOf<T, Items>::task_done() {
  if (unfinished_count_ == 0) throw std::invalid_argument("Queue::task_done: called more often than items were put");
  count_done(1);
}

template <class T, class Items>
void QueueOf<T, Items>::count_done(std::size_t count) noexcept {
  unfinished_count_ -= std::min(count, unfinished_count_);
  if (unfinished_count_ == 0) joining_.wake_all();
}

template <class T, class Items>
void QueueOf<T, Items>::join() {
  require_task("Queue::join");
  if (unfinished_count_ != 0) joining_.wait("the work on the items of the queue");
}

template <class T, class Items>
void QueueOf<T, Items>::shutdown(QueueShutdownOptions options) {
  is_shut_down_ = true;
  while (!getters_.empty()) getters_.pop_front().serve();
  while (!putters_.empty()) {
    Putter& putter = putters_.pop_front();
    putter.error = std::make_exception_ptr(QueueShutDown());
    putter.serve();
  }
  if (!options.immediate) return;
  const Items dropped = std::exchange(items_, Items());  // their destructors find the queue empty
  count_done(dropped.size());
}

}  // namespace detail
}  // namespace tulp
