#include <tulp/staggered_race.hpp>

#include <tulp/error.hpp>

namespace tulp::detail {

class StaggeredRace::RacePark final : public WaitEntry {
 public:
  RacePark(TaskControl& me, StaggeredRace& race) noexcept : WaitEntry(me), race_(race) { race_.parked_ = this; }
  std::string description() const override { return "the first of the attempts of a staggered race"; }
  bool pass_on(const CancelReason& reason, TaskControl*&) noexcept override {
    race_.cancel_reason_ = reason;
    race_.spread_cancel(reason);
    return true;
  }

 private:
  StaggeredRace& race_;
};

StaggeredRace::StaggeredRace(std::size_t count, Duration delay)
    : me_(require_task("staggered_race")), count_(count), delay_(delay) {}

std::optional<std::size_t> StaggeredRace::run(Begin begin) {
  throw_if_cancelled();
  for (;;) {
    const bool is_over = winner_ || cancel_reason_;
    if (!is_over && is_next_due()) {
      const std::size_t index = errors_.size();
      errors_.emplace_back();
      watch(*begin(index), index);
      ++running_count_;
      timer_.cancel();
      next_at_ = after(me_.loop().time(), delay_);
      if (errors_.size() < count_ && !delay_.is_never()) timer_ = me_.loop().call_at(next_at_, [this] { wake(); });
    } else if (running_count_ > 0) {
      RacePark wait(me_, *this);
      park(wait);
    } else {
      break;
    }
  }
  if (cancel_reason_ && !winner_ && was_cut_short_)
    throw CancelledError(cancel_reason_->message, cancel_reason_->asked_at);
  if (cancel_reason_) me_.cancel_at_next_park();
  return winner_;
}

bool StaggeredRace::is_next_due() const noexcept {
  if (errors_.size() == count_) return false;
  return errors_.empty() || errors_.back() != nullptr || (!delay_.is_never() && me_.loop().time() >= next_at_);
}

void StaggeredRace::wake() noexcept {
  if (parked_ != nullptr) std::exchange(parked_, nullptr)->wake();
}

void StaggeredRace::on_end(Ref<FutureState> attempt, std::size_t index) noexcept {
  --running_count_;
  switch (attempt->status()) {
    case FutureState::Status::has_value:
      if (!winner_) {
        winner_ = index;
        spread_cancel(CancelReason("another one has won the race"));
      }
      break;
    case FutureState::Status::cancelled:
      errors_[index] = std::make_exception_ptr(
          FutureCancelledError(attempt->cancel_reason().message, attempt->cancel_reason().asked_at));
      was_cut_short_ = true;
      break;
    default: errors_[index] = attempt->exception();
  }
  wake();
}

}  // namespace tulp::detail
