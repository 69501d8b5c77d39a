// FiberPool: fibers of one stack size, kept warm between their users.  Floor 2, fiber.
#pragma once
#include <vector>

#include "fiber/fiber.hpp"
#include "fiber/stack.hpp"

namespace tulp {

struct FiberPoolStatistics {
  std::size_t running_count;  // fibers that somebody uses
  std::size_t idle_count;     // warm fibers that wait for a user
  std::size_t stack_size_bytes;
};

/// A fiber whose user has ended is not destroyed: it waits inside its entry, standing on its own warm stack, and is
/// switched to again for the next user.  So starting a task on a used fiber costs a switch and no memory.
///
/// Fibers that nobody needed through a whole window of releases are destroyed and their stacks' memory goes back to the
/// system; what a steady load uses stays warm.
class FiberPool {
 public:
  /// Every fiber of this pool does `program`.
  FiberPool(std::size_t stack_size_bytes, const FiberProgram& program) : stacks_(stack_size_bytes), program_(program) {}
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;
  ~FiberPool();

  std::size_t stack_size_bytes() const noexcept { return stacks_.size_bytes(); }
  FiberPoolStatistics statistics() const noexcept { return {running_count_, idle_.size(), stacks_.size_bytes()}; }

  /// Promises a fiber to a later take().  Throws: as StackPool::reserve.
  void reserve();
  void unreserve() noexcept { --promised_; }
  Fiber& take() noexcept;
  /// Makes `fiber` ready for its next user.  May be called by the fiber itself: it must then leave at once for another
  /// one, and when it is switched to again, it has a new user.
  void give_back(Fiber& fiber) noexcept;

 private:
  static constexpr std::size_t window = 4096;  // releases
  void destroy(Fiber& fiber) noexcept;
  void trim() noexcept;

  StackPool stacks_;
  const FiberProgram& program_;
  std::vector<Fiber*> idle_;  // the warmest last
  std::size_t promised_ = 0;
  std::size_t promised_stacks_ = 0;  // what of the promises the stack pool has promised to us
  std::size_t next_shift_ = 0;
  std::size_t running_count_ = 0;
  std::size_t lowest_idle_count_ = 0;  // within this window
  std::size_t releases_left_ = window;
};

}  // namespace tulp
