#include <tulp/lock.hpp>

#include <utility>

#include <tulp/error.hpp>

namespace tulp {

bool Lock::acquire() {
  const detail::TaskControl& me = detail::require_task("Lock::acquire");
  if (std::exchange(is_locked_, true)) waiting_.wait("the lock", &holder_);  // whoever wakes us leaves it locked
  holder_ = me.number();
  return true;
}

bool Lock::try_lock() noexcept {
  if (std::exchange(is_locked_, true)) return false;
  const detail::TaskControl* me = detail::running_task();
  holder_ = me != nullptr ? me->number() : 0;
  return true;
}

void Lock::release() {
  if (!is_locked_) throw InvalidStateError("Lock::release: the lock is not locked");
  holder_ = 0;
  is_locked_ = !waiting_.empty();
  waiting_.wake_one();
}

}  // namespace tulp
