// ForkableMutex: a mutex that a child process can go on using.  Floor 1, base.
#pragma once
#include <mutex>
#include <new>

namespace tulp {

/// Recursive.  A pthread_atfork handler locks it before the fork, so that what it guards is whole in the child, unlocks
/// it in the parent and resets it in the child: there its owner is a thread that does not exist, and cannot unlock it.
class ForkableMutex {
 public:
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  void reset() noexcept { ::new (&mutex_) std::recursive_mutex; }

 private:
  std::recursive_mutex mutex_;
};

}  // namespace tulp
