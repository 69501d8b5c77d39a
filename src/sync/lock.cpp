#include <tulp/lock.hpp>

#include <utility>

#include <tulp/error.hpp>

namespace tulp {

bool Lock::acquire() {
  detail::require_task("Lock::acquire");
  if (!try_lock()) waiting_.wait();  // whoever wakes us leaves it locked
  return true;
}

bool Lock::try_lock() noexcept { return !std::exchange(is_locked_, true); }

void Lock::release() {
  if (!is_locked_) throw InvalidStateError("Lock::release: the lock is not locked");
  is_locked_ = !waiting_.empty();
  waiting_.wake_one();
}

}  // namespace tulp
