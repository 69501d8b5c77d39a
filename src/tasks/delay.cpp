#include <tulp/delay.hpp>

#include "tasks/dump.hpp"

namespace tulp {
namespace detail {
namespace {

class DelayState final : public FutureStateOf<void> {
 public:
  using FutureStateOf::FutureStateOf;
  void start(Duration limit) {
    when_ = after(loop().time(), limit);
    timer_ = loop().call_at(when_, [self = Ref<DelayState>::share(this)] {
      if (!self->is_done()) self->set_value();
    });
  }
  bool cancel(CancelReason reason) override {
    timer_.cancel();
    return FutureState::cancel(std::move(reason));
  }
  std::string description() const override {
    return is_done() ? "a delay" : "a delay, " + short_duration(when_ - loop().time()) + " left,";
  }

 private:
  TimerHandle timer_;
  TimePoint when_{};
};

}  // namespace
}  // namespace detail

[[gnu::noinline]] Future<> delay(Duration limit) {
  EventLoop& loop = detail::loop_for_new_object();
  auto state = detail::Ref<detail::DelayState>::adopt(new detail::DelayState(loop, TULP_CALLER));
  state->start(limit);
  return Future<>(detail::Ref<detail::FutureStateOf<void>>(std::move(state)));
}

}  // namespace tulp
