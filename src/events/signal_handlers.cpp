#include "events/signal_handlers.hpp"

#include <stdexcept>
#include <string>

namespace tulp::detail {

SignalHandlers::SignalHandlers(EventLoop& loop) : loop_(loop), watch_(target().fd(), FdWatch::Mode::level) {
  watch_.arm_before_adding(Direction::read, *this);
  loop_.add_fd(watch_);
}

SignalHandlers::~SignalHandlers() {
  for (int signal = 1; signal <= SignalTarget::highest_signal; ++signal) remove(signal);
  loop_.remove_fd(watch_);
}

void SignalHandlers::add(int signal, const void* created_at, UniqueFunction<void()> function) {
  if (signal < 1 || signal > SignalTarget::highest_signal)
    throw std::invalid_argument("add_signal_handler: there is no signal " + std::to_string(signal));
  const std::string what = "handler of signal " + std::to_string(signal);
  auto callback = Ref<RepeatedCallback>::adopt(
      new RepeatedCallback(loop_, {.what = what, .created_at = created_at}, std::move(function)));
  target().watch(signal);
  RepeatedCallback* former = std::exchange(callbacks_[static_cast<std::size_t>(signal)], callback.release());
  if (former != nullptr) former->remove();
}

bool SignalHandlers::remove(int signal) noexcept {
  if (signal < 1 || signal > SignalTarget::highest_signal) return false;
  RepeatedCallback* callback = std::exchange(callbacks_[static_cast<std::size_t>(signal)], nullptr);
  if (callback == nullptr) return false;
  target().unwatch(signal);
  callback->remove();
  return true;
}

void SignalHandlers::run() noexcept {
  std::uint64_t arrived = target().take();
  for (std::size_t signal = 1; arrived != 0; ++signal, arrived >>= 1) {
    RepeatedCallback* callback = callbacks_[signal];
    if ((arrived & 1) != 0 && callback != nullptr && !callback->is_queued()) loop_.post(*callback);
  }
}

}  // namespace tulp::detail
