#include "tasks/timeout.hpp"

#include <tulp/timeout.hpp>

#include <cstdio>

#include <tulp/error.hpp>

namespace tulp {
namespace detail {

std::string in_seconds(Duration limit) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g s", limit.seconds());
  return text;
}

}  // namespace detail

Timeout::Timeout(std::optional<TimePoint> when)
    : task_(detail::require_task("with_timeout")),
      cancelling_at_entry_(task_.cancelling()),
      entered_at_(task_.loop().time()),
      when_(when) {
  start_timer();
}

Timeout::Timeout(Duration limit) : Timeout(std::optional<TimePoint>()) {
  if (limit.is_never()) return;
  when_ = after(entered_at_, limit);
  start_timer();
}

Timeout::~Timeout() { leave(); }

void Timeout::reschedule(Duration limit) {
  if (limit.is_never()) return reschedule(std::nullopt);
  reschedule(after(task_.loop().time(), limit));
}

void Timeout::reschedule(std::optional<TimePoint> when) {
  if (is_expired_) throw InvalidStateError("Timeout::reschedule: the time is over already");
  if (has_left_) throw InvalidStateError("Timeout::reschedule: with_timeout() has returned");
  timer_.cancel();
  when_ = when;
  start_timer();
}

void Timeout::start_timer() {
  if (when_) timer_ = task_.loop().call_at(*when_, [this] { expire(); });
}

void Timeout::expire() {
  is_expired_ = true;
  task_.request_cancel("the time limit of " + limit_text() + " has passed");
}

std::string Timeout::limit_text() const { return detail::in_seconds(*when_ - entered_at_); }

void Timeout::leave() noexcept {
  if (has_left_) return;
  has_left_ = true;
  timer_.cancel();
  if (!is_expired_) return;
  if (task_.uncancel() <= cancelling_at_entry_) task_.forget_pending_cancel();  // it was ours, and came too late
}

void Timeout::throw_if_expired() {
  leave();
  if (is_expired_ && task_.cancelling() <= cancelling_at_entry_) throw TimeoutError("timed out after " + limit_text());
}

namespace detail {

void wait_within(FutureState& future, Duration limit) {
  if (limit > Duration::zero()) return with_timeout(limit, [&] { wait_until_done(future); });
  check_awaitable(future, "wait_for");
  if (future.is_done()) return;
  const std::string text = "timed out after " + in_seconds(limit);
  if (future.is_awaited_by_others(nullptr)) throw TimeoutError(text);
  future.cancel("the time limit of " + in_seconds(limit) + " has passed");
  wait_until_done(future);
  if (future.status() == FutureState::Status::cancelled) throw TimeoutError(text);
}

}  // namespace detail
}  // namespace tulp
