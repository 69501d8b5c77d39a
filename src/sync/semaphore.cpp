#include <tulp/semaphore.hpp>

#include <stdexcept>

namespace tulp {

Semaphore::Semaphore(std::ptrdiff_t value, std::ptrdiff_t bound) : value_(value), bound_(bound) {
  if (value < 0) throw std::invalid_argument("Semaphore: the initial value is negative");
}

bool Semaphore::acquire() {
  detail::require_task("Semaphore::acquire");
  if (!try_lock())
    waiting_.wait("a place at the semaphore");  // whoever wakes us hands us a place that was never counted as free
  return true;
}

bool Semaphore::try_lock() noexcept {
  if (value_ == 0) return false;
  --value_;
  return true;
}

void Semaphore::release() {
  if (value_ >= bound_) throw std::invalid_argument("Semaphore::release: released more often than acquired");
  if (waiting_.empty())
    ++value_;
  else
    waiting_.wake_one();
}

}  // namespace tulp
