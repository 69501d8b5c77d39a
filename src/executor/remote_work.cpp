#include <tulp/detail/remote_work.hpp>

namespace tulp::detail {

void RemoteWork::on_done(UniqueFunction<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_done_) {
      callback_ = std::move(callback);
      return;
    }
  }
  callback();
}

void RemoteWork::notify_done() noexcept {
  UniqueFunction<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
    callback = std::move(callback_);
  }
  if (callback) callback();
}

}  // namespace tulp::detail
