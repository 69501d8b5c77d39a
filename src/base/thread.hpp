// start_thread: a thread of the library's own.  Floor 1, base.
#pragma once
#include <pthread.h>

#include <utility>

namespace tulp {

/// Calls `run(argument)` on a new, detached thread that takes no signals: those are for the program's threads.
/// `name`, for debuggers, has at most 15 characters.  0, or the error of pthread_create(3).
int start_thread(const char* name, void (*run)(void*), void* argument);
/// As start_thread(), of a thread that leaves a ThreadEnd to somebody, and thus does not end unseen.
int start_joinable_thread(const char* name, void (*run)(void*), void* argument);

/// A thread that is about to end.  Whoever holds this last waits until it has; the thread itself lets itself go.
class ThreadEnd {
 public:
  static ThreadEnd of_this_thread() noexcept { return ThreadEnd(::pthread_self()); }
  ThreadEnd(ThreadEnd&& other) noexcept : thread_(other.thread_), is_held_(std::exchange(other.is_held_, false)) {}
  ThreadEnd& operator=(ThreadEnd&&) = delete;
  ~ThreadEnd() { wait(); }

  void wait() noexcept {
    if (!std::exchange(is_held_, false)) return;
    if (::pthread_equal(thread_, ::pthread_self()) != 0)
      ::pthread_detach(thread_);
    else
      ::pthread_join(thread_, nullptr);
  }

 private:
  explicit ThreadEnd(pthread_t thread) noexcept : thread_(thread) {}
  pthread_t thread_;
  bool is_held_ = true;
};

}  // namespace tulp
