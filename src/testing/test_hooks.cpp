#include "testing/test_hooks.hpp"

#include <tulp/detail/task_control.hpp>

#include <algorithm>
#include <string>
#include <utility>

#include "loop/selector_event_loop.hpp"
#include "tasks/dump.hpp"
#include "testing/seed.hpp"
#include "testing/test_selector.hpp"

namespace tulp::testing {

TestHooks::TestHooks(const TestOptions& options) : options_(options) {
  const auto seed = seed_from_environment();
  if (seed || options.seed) disturbance_.emplace(seed ? *seed : *options.seed);
}

std::unique_ptr<Selector> TestHooks::around(std::unique_ptr<Selector> selector) {
  auto made = std::make_unique<TestSelector>(std::move(selector), *this);
  selector_ = made.get();
  return made;
}

TimePoint TestHooks::now() const noexcept {
  return options_.time == Time::real ? std::chrono::steady_clock::now() : now_;
}

unsigned TestHooks::batches_before_poll() noexcept {
  constexpr unsigned most = 64;
  return disturbance_ ? static_cast<unsigned>(disturbance_->part_of(most)) : most;
}

bool TestHooks::lets_posts_in() noexcept { return !disturbance_ || !posts_kept_out_.one_in(2, *disturbance_); }

std::optional<std::uint64_t> TestHooks::seed() const {
  return disturbance_ ? std::optional(disturbance_->seed()) : std::nullopt;
}

bool TestHooks::jump(Duration delay) noexcept {
  const TimePoint next = after(now_, delay);
  if (horizon_ && next > *horizon_) {
    now_ = std::max(now_, *horizon_);
    horizon_.reset();
    loop_->stop();
    return true;
  }
  if (next == TimePoint::max()) return false;
  now_ = next;
  return true;
}

void TestHooks::throw_deadlock() const {
  std::string what = "deadlock: nothing is ready, no timer is set, no Hold says that anybody outside is at work";
  what += "\n" + tulp::detail::describe_tasks(*loop_);
  what.pop_back();
  if (disturbance_) what += "\n  the seed is " + std::to_string(disturbance_->seed());
  throw DeadlockError(what);
}

TestHooks& hooks_of(const EventLoop& loop) {
  const auto* concrete = dynamic_cast<const SelectorEventLoop*>(&loop);
  if (concrete == nullptr || concrete->hooks() == nullptr) throw InvalidStateError("this event loop is no test loop");
  return static_cast<TestHooks&>(*concrete->hooks());
}

TestSelector* running_test_selector() noexcept {
  const auto* loop = dynamic_cast<const SelectorEventLoop*>(get_running_loop());
  return loop != nullptr && loop->hooks() != nullptr ? static_cast<TestHooks*>(loop->hooks())->selector() : nullptr;
}

}  // namespace tulp::testing
