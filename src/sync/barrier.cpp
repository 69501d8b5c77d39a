#include <tulp/barrier.hpp>

#include <stdexcept>

#include <tulp/error.hpp>

namespace tulp {

struct Barrier::Party final : detail::WaitEntry {
  Party(detail::TaskControl& task, Barrier& at) noexcept : WaitEntry(task), barrier(at) {}
  std::string description() const override { return detail::describe_object("the barrier", &barrier); }
  void undo() noexcept override {
    unlink();
    --barrier.waiting_count_;
  }

  Barrier& barrier;
  std::size_t index = 0;
  Outcome outcome = Outcome::passed;
};

Barrier::Barrier(std::ptrdiff_t parties) : parties_(static_cast<std::size_t>(parties)) {
  if (parties < 1) throw std::invalid_argument("Barrier: less than one party");
}

std::size_t Barrier::wait() {
  detail::TaskControl& me = detail::require_task("Barrier::wait");
  if (is_broken_) throw BrokenBarrierError();
  if (waiting_count_ + 1 == parties_) {
    end_waits(Outcome::passed);
    return parties_ - 1;
  }
  Party party(me, *this);
  waiting_.push_back(party);
  ++waiting_count_;
  detail::park(party);
  if (party.outcome == Outcome::broken) throw BrokenBarrierError();
  return party.index;
}

void Barrier::reset() noexcept {
  is_broken_ = false;
  end_waits(Outcome::broken);
}

void Barrier::abort() noexcept {
  is_broken_ = true;
  end_waits(Outcome::broken);
}

/// The places are counted only now: a task that was cancelled leaves no gap.
void Barrier::end_waits(Outcome outcome) noexcept {
  for (std::size_t index = 0; !waiting_.empty(); ++index) {
    auto& party = static_cast<Party&>(waiting_.pop_front());
    party.index = index;
    party.outcome = outcome;
    party.wake();
  }
  waiting_count_ = 0;
}

}  // namespace tulp
