// Stack: where a fiber runs, and StackPool: where stacks come from.  Floor 2, fiber.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tulp {

/// Memory that a fiber runs on, with a guard below it.  Grows downwards from top().
struct Stack {
  char* low = nullptr;  // the lowest usable byte; the guard lies below
  std::size_t size_bytes = 0;

  char* top() const noexcept { return low + size_bytes; }
  bool contains(const void* address) const noexcept { return address >= low && address < top(); }
  bool guard_contains(const void* address) const noexcept;
  /// How much of the stack has been touched since it was mapped or given back to the system, in whole pages: an upper
  /// bound of what its present user needed.
  std::size_t high_water_bytes() const noexcept;
};

/// Stacks of one size, carved from slabs that are reserved as address space and committed by the kernel page by page.
/// Each has a guard of 64 KiB below it: MADV_GUARD_INSTALL where the kernel has it (Linux 6.13), which costs no mapping;
/// mprotect elsewhere, which costs two of vm.max_map_count for each stack.
///
/// A stack is promised first (reserve, which may throw) and taken later (take, which does not), so that a thousand tasks
/// that are created before the first of them runs share the few warm stacks that they need one after another.
class StackPool {
 public:
  static constexpr std::size_t guard_bytes = 64 * 1024;
  static constexpr std::size_t minimum_bytes = 16 * 1024;

  explicit StackPool(std::size_t size_bytes) : size_bytes_(size_bytes) {}
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  /// Unmaps the slabs if every stack is back; a stack that somebody still stands on is leaked with its slab.
  ~StackPool();

  std::size_t size_bytes() const noexcept { return size_bytes_; }

  /// Promises one stack to a later take().
  /// Throws: OsError - no memory or no mapping left; what() names the limit to raise.
  void reserve();
  /// Takes a promise back.
  void unreserve() noexcept { --promised_; }
  /// Fulfils a promise.
  Stack take() noexcept;
  /// Returns a stack that nobody stands on, and its memory to the system.
  void give_back(const Stack& stack) noexcept;

 private:
  struct Slab {
    char* begin;
    std::size_t stack_count;
  };
  std::size_t stride() const noexcept { return guard_bytes + size_bytes_; }
  std::size_t available() const noexcept { return free_.size() + fresh_count_; }
  void grow();
  void install_guard(char* begin);

  std::size_t size_bytes_;
  std::vector<Slab> slabs_;
  std::vector<char*> free_;  // the low ends of stacks that have been used and given back
  char* fresh_ = nullptr;    // the newest slab's stacks that were never used
  std::size_t fresh_count_ = 0;
  std::size_t promised_ = 0;
  std::size_t taken_count_ = 0;
};

/// The usable bytes of a stack for which no size was asked: TULP_STACK_SIZE (bytes, or with a K or M), else 256 KiB.
std::size_t default_stack_size_bytes();
/// What a stack that was asked for really gets: at least the minimum, in whole pages.
/// Throws: std::invalid_argument - more than a quarter of the address space.
std::size_t round_stack_size(std::size_t size_bytes);

}  // namespace tulp
