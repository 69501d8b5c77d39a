// Barrier: tasks that wait for each other.  Floor 6, sync.
#pragma once
#include <tulp/detail/wait_queue.hpp>

#include <cstddef>

namespace tulp {

/// Holds tasks up until `parties` of them are there, and lets these go on together; then it is as new.  It belongs to one
/// thread, and has to outlive those who wait at it.
/// Source: asyncio.Barrier.
class Barrier {
 public:
  /// Throws: std::invalid_argument - `parties` is less than 1.
  explicit Barrier(std::ptrdiff_t parties);
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  /// Which of them this task is: 0 for the one that had come first, up to `parties - 1`; each number once.
  /// Parks: until the last one has come, who does not park.
  /// Cancel: one fewer is there; the others wait on.
  /// Throws: BrokenBarrierError - it is broken, or abort() or reset() came while this waited; InvalidStateError - outside a
  /// task.
  std::size_t wait();

  // These work outside a task, too; in asyncio they have to be awaited.

  /// Who waits gets BrokenBarrierError; then the barrier is as new, even if it was broken.
  void reset() noexcept;
  /// Who waits gets BrokenBarrierError, and so does who comes, until reset().
  void abort() noexcept;

  std::size_t parties() const noexcept { return parties_; }
  std::size_t n_waiting() const noexcept { return waiting_count_; }
  bool broken() const noexcept { return is_broken_; }

 private:
  struct Party;
  enum class Outcome : bool { passed, broken };
  void end_waits(Outcome outcome) noexcept;

  std::size_t parties_;
  std::size_t waiting_count_ = 0;
  bool is_broken_ = false;
  detail::IntrusiveList<detail::WaitEntry> waiting_;
};

}  // namespace tulp
