#include <tulp/select.hpp>

#include <stdexcept>

namespace tulp::detail {

class Selection final : public Park {
 public:
  Selection(TaskControl& me, std::span<Alternative* const> alternatives) noexcept
      : me_(me), alternatives_(alternatives) {}
  Selection(const Selection&) = delete;
  Selection& operator=(const Selection&) = delete;
  /// Also of what was enlisted before another one failed to be.
  ~Selection() { withdraw_all(); }

  Alternative& wait() {
    for (Alternative* const one : alternatives_) {
      one->set_selection(*this);
      one->enlist(me_);
    }
    park(*this);
    return *chosen_;
  }
  /// What was queued before the task is, such as a timer that is due together with this, runs before it, and finds that
  /// one is chosen.  Nothing is queued behind it, for all are withdrawn: so the alternatives may lie on the task's stack.
  void choose(Alternative& one) noexcept {
    if (chosen_ != nullptr || is_undone_) return;
    chosen_ = &one;
    withdraw_all();
    me_.loop().post(me_);
  }
  std::string description() const override {
    return "the first of " + std::to_string(alternatives_.size()) + " in a select";
  }
  void undo() noexcept override {
    is_undone_ = true;
    withdraw_all();
  }

 private:
  void withdraw_all() noexcept {
    for (Alternative* const one : alternatives_) one->withdraw();
  }

  TaskControl& me_;
  std::span<Alternative* const> alternatives_;
  Alternative* chosen_ = nullptr;
  bool is_undone_ = false;
};

void Alternative::choose() noexcept { selection_->choose(*this); }

std::size_t select_one(std::span<Alternative* const> alternatives) {
  TaskControl& me = require_task("select");
  begin_operation(me);
  for (std::size_t i = 0; i < alternatives.size(); ++i) {
    if (alternatives[i]->try_now()) return i;
  }
  Selection selection(me, alternatives);
  const Alternative& chosen = selection.wait();
  std::size_t index = 0;
  while (alternatives[index] != &chosen) ++index;
  return index;
}

void DoneAlternative::enlist(TaskControl& me) {
  if (&future_.loop() != &me.loop()) throw InvalidStateError("select: the future belongs to a different event loop");
  future_.add_waiter(*this);
}

void TimeAlternative::enlist(TaskControl& me) {
  if (limit_.is_never()) return;
  loop_ = &me.loop();
  timer_.set_when(after(loop_->time(), limit_));
  loop_->start_timer(timer_);
}

void TimeAlternative::withdraw() noexcept {
  if (loop_ != nullptr) loop_->stop_timer(timer_);
}

}  // namespace tulp::detail
