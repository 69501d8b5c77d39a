// FutureState: what the copies of a Future share.  Floor 4, futures.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/ref.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/error.hpp>
#include <tulp/loop_core.hpp>
#include <tulp/throw_trace.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace tulp::detail {

class FutureState;
class TaskControl;

/// Why, and by which call, something was cancelled.
struct CancelReason {
  CancelReason(std::string why = {}, const void* asked_at_address = nullptr) noexcept
      : message(std::move(why)), asked_at(asked_at_address) {}
  bool is_empty() const noexcept { return message.empty() && asked_at == nullptr; }
  /// Null for a reason that says nothing.
  static std::unique_ptr<CancelReason> keep(CancelReason reason) noexcept {
    if (reason.is_empty()) return nullptr;
    return std::unique_ptr<CancelReason>(new (std::nothrow) CancelReason(std::move(reason)));
  }

  std::string message;
  const void* asked_at;  // a return address, or null
};

/// Whoever is to be queued when a future is done.
class Waiter : public ListHook<Waiter> {
 public:
  /// Who only looks on does not keep others from cancelling the future.
  enum class Role : bool { waits, looks_on };
  explicit Waiter(Runnable& target, Role role = Role::waits) noexcept : target_(target), role_(role) {}

 private:
  friend class FutureState;
  Runnable& target_;
  Role role_;
  bool is_callback_ = false;
};

/// The state machine of a future, without its value.  Pending, then one of three ends, once.
/// Thread: references may be added and dropped anywhere; all else happens on the loop's thread.
class FutureState : public RefCounted {
 public:
  enum class Status : std::uint8_t { pending, has_value, failed, cancelled };

  FutureState(EventLoop& loop, const void* created_at) noexcept : loop_(loop), created_at_(created_at) {}
  ~FutureState() override;

  EventLoop& loop() const noexcept { return loop_; }
  const void* created_at() const noexcept { return created_at_; }
  Status status() const noexcept { return status_; }
  bool is_done() const noexcept { return status_ != Status::pending; }
  /// The task whose end this is, or null.
  virtual TaskControl* task() const noexcept { return nullptr; }
  /// For reports: "future", "task 'crawl'".
  virtual std::string description() const { return "future"; }

  /// Ends a pending future as cancelled; asks a task to end so.  False if it is done already.
  virtual bool cancel(CancelReason reason);
  const CancelReason& cancel_reason() const noexcept;
  /// Null if it has a value.  Counts as retrieving.
  /// Throws: InvalidStateError - pending; FutureCancelledError - cancelled.
  std::exception_ptr exception() const;
  /// Returns if there is a value; else throws as exception(), or what was set.
  void check_value() const;

  /// For set_result() and set_exception() of the user.
  /// Throws: InvalidStateError - done, or the state is a task's.
  void check_settable();
  /// Where the exception of a failed one was thrown; null if that is not known.
  std::shared_ptr<const ThrowTrace> trace() const noexcept { return note_ ? note_->trace : nullptr; }
  void fail(std::exception_ptr error, std::shared_ptr<const ThrowTrace> trace = nullptr) noexcept;

  void add_waiter(Waiter& waiter) noexcept { waiters_.push_back(waiter); }
  /// True if somebody besides `waiter`, which may be null, waits for the end.
  bool is_awaited_by_others(const Waiter* waiter) noexcept;
  /// A failure will not be reported: whoever calls this cares for nobody's but the first of several.
  void take_note() noexcept { is_retrieved_ = true; }
  /// Queues `callback(*this)` when done, or now if it is.
  std::uint64_t add_done_callback(UniqueFunction<void(FutureState&)> callback);
  bool remove_done_callback(std::uint64_t id) noexcept;

 protected:
  void last_reference_dropped() const noexcept override;
  /// Queues the waiters, in the order in which they came.
  void finish(Status status) noexcept;
  void finish_cancelled(CancelReason reason) noexcept;

 private:
  class DoneCallback;
  /// What few futures have.
  struct Note {
    CancelReason cancel_reason;
    std::shared_ptr<const ThrowTrace> trace;  // of exception_
  };

  EventLoop& loop_;
  const void* created_at_;
  IntrusiveList<Waiter> waiters_;
  std::exception_ptr exception_;
  std::unique_ptr<Note> note_;  // null if empty
  Status status_ = Status::pending;
  mutable bool is_retrieved_ = false;
};

/// std::is_copy_constructible, but right for containers of what can only be moved, which claim that they can be copied.
template <class T>
inline constexpr bool is_copyable = std::is_copy_constructible_v<T>;
template <class T>
requires requires {
  typename T::value_type;
} &&(!std::is_same_v<typename T::value_type, T>)inline constexpr bool is_copyable<T> =
    std::is_copy_constructible_v<T> && is_copyable<typename T::value_type>;

/// With the value.
template <class T>
class FutureStateOf : public FutureState {
 public:
  using FutureState::FutureState;

  void set_value(T value) {
    value_.emplace(std::move(value));
    finish(Status::has_value);
  }
  /// Copies what can be copied, unless nobody else can ask for it; takes what can only be moved.
  /// Throws: InvalidStateError - it was taken before; as check_value().
  T get(bool is_last_reference) {
    check_value();
    if (!value_) throw InvalidStateError("the future's move-only result was taken before");
    if constexpr (is_copyable<T>) {
      if (!is_last_reference) return *value_;
    }
    T value = std::move(*value_);
    value_.reset();
    return value;
  }

 protected:
  std::optional<T> value_;
};

template <>
class FutureStateOf<void> : public FutureState {
 public:
  using FutureState::FutureState;
  void set_value() noexcept { finish(Status::has_value); }
  void get(bool) const { check_value(); }
};

}  // namespace tulp::detail
