#include <tulp/condition.hpp>
#include <tulp/task.hpp>

#include <string>

#include <tulp/error.hpp>

namespace tulp {
namespace {

void require_locked(const Lock& lock, const char* function) {
  if (!lock.locked()) throw InvalidStateError(std::string(function) + ": the condition's lock is not locked");
}

}  // namespace

bool Condition::wait() {
  detail::require_task("Condition::wait");
  require_locked(lock_, "Condition::wait");
  struct Unlocked {  // until the end of its scope
    explicit Unlocked(Lock& l) : lock(l) { lock.release(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked() {
      const CancelShield shield;  // a task that was notified has to come back with that
      lock.acquire();
    }
    Lock& lock;
  } const unlocked(lock_);
  waiting_.wait("the condition");
  return true;
}

void Condition::notify(std::size_t n) {
  require_locked(lock_, "Condition::notify");
  for (; n > 0 && !waiting_.empty(); --n) waiting_.wake_one();
}

void Condition::notify_all() {
  require_locked(lock_, "Condition::notify_all");
  waiting_.wake_all();
}

}  // namespace tulp
