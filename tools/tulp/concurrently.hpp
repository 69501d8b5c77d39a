// on_fibers and for_each_concurrently: many calls of one function, some of them at a time.
#pragma once
#include <tulp/error.hpp>
#include <tulp/task.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

namespace tool {

/// Fibers that end before what they work on goes away.
class FiberGroup {
 public:
  FiberGroup() = default;
  FiberGroup(const FiberGroup&) = delete;
  FiberGroup& operator=(const FiberGroup&) = delete;
  /// Cancels those that still run, and waits for them.
  ~FiberGroup() {
    const tulp::CancelShield shield;
    cancel();
    for (const auto& fiber : fibers_) wait_for(fiber);
  }

  template <class F>
  void start(F f) {
    fibers_.push_back(tulp::create_task(std::move(f)));
  }
  void cancel() {
    for (auto& fiber : fibers_) fiber.cancel();
  }
  /// Throws: what a fiber ended with.
  void wait() {
    for (const auto& fiber : fibers_) tulp::await(fiber);
  }

 private:
  static void wait_for(const tulp::Task<>& fiber) {
    try {
      tulp::await(fiber);
    } catch (const std::exception&) {
      // It was cancelled, or its error came second.
    }
  }

  std::vector<tulp::Task<>> fibers_;
};

/// Calls `f()` on so many fibers at once.
/// Parks: until all have ended.  If one throws, the others are cancelled, and its exception comes out.
template <class F>
void on_fibers(std::size_t fiber_count, F f) {
  std::exception_ptr error;
  FiberGroup group;
  for (std::size_t i = 0; i < fiber_count; ++i) {
    group.start([&] {
      try {
        f();
      } catch (const std::exception&) {
        if (!error) error = std::current_exception();
        group.cancel();
      }
    });
  }
  try {
    group.wait();
  } catch (const tulp::FutureCancelledError&) {
    // By the one that failed.
  }
  if (error) std::rethrow_exception(error);
}

/// Calls `f(i)` for each i below `count`, in that order: `fiber_count` calls run at a time.  Otherwise as on_fibers().
template <class F>
void for_each_concurrently(std::size_t count, std::size_t fiber_count, F f) {
  std::size_t next = 0;
  on_fibers(std::min(count, fiber_count), [&] {
    while (next < count) f(next++);
  });
}

}  // namespace tool
