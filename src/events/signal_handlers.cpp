#include "events/signal_handlers.hpp"

#include <stdexcept>
#include <string>

namespace tulp::detail {

/// Stands in the queue for one signal that has arrived.
class SignalHandlers::Arrival final : public Runnable {
 public:
  explicit Arrival(RepeatedCallback& callback) : callback_(Ref<RepeatedCallback>::share(&callback)) {}
  void run() noexcept override {
    callback_->call();
    delete this;
  }
  void discard() noexcept override { delete this; }
  Origin origin() const override { return callback_->origin(); }

 private:
  Ref<RepeatedCallback> callback_;
};

SignalHandlers::SignalHandlers(EventLoop& loop) : loop_(loop), watch_(target().fd(), FdWatch::Mode::level) {
  watch_.arm_before_adding(Direction::read, *this);
  loop_.add_fd(watch_);
}

SignalHandlers::~SignalHandlers() {
  for (int signal = 1; signal <= SignalTarget::highest_signal; ++signal) remove(signal);
  loop_.remove_fd(watch_);
}

void SignalHandlers::add(int signal, const void* created_at, UniqueFunction<void()> function, Purpose purpose) {
  if (signal < 1 || signal > SignalTarget::highest_signal)
    throw std::invalid_argument("add_signal_handler: there is no signal " + std::to_string(signal));
  const std::string what = "handler of signal " + std::to_string(signal);
  auto callback = Ref<RepeatedCallback>::adopt(
      new RepeatedCallback(loop_, {.what = what, .created_at = created_at}, std::move(function)));
  target().watch(signal);
  RepeatedCallback* former = std::exchange(callbacks_[static_cast<std::size_t>(signal)], callback.release());
  if (former != nullptr) former->remove();
  set_purpose(signal, purpose == Purpose::work);
}

void SignalHandlers::set_purpose(int signal, bool is_work) noexcept {
  const auto bit = std::uint64_t{1} << (signal - 1);
  working_ = is_work ? working_ | bit : working_ & ~bit;
  watch_.keeps_loop_going = working_ != 0;
}

bool SignalHandlers::remove(int signal) noexcept {
  if (signal < 1 || signal > SignalTarget::highest_signal) return false;
  RepeatedCallback* callback = std::exchange(callbacks_[static_cast<std::size_t>(signal)], nullptr);
  if (callback == nullptr) return false;
  set_purpose(signal, false);
  target().unwatch(signal);
  callback->remove();
  return true;
}

void SignalHandlers::run() noexcept {
  SignalTarget::Arrivals arrivals;
  for (const unsigned char signal : target().take(arrivals))
    if (RepeatedCallback* callback = callbacks_[signal]) loop_.post(*new Arrival(*callback));
}

}  // namespace tulp::detail
