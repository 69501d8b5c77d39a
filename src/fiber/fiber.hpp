// Fiber: a flow of control with a stack of its own, and the switch from one to another.  Floor 2, fiber.
//
// A fiber stays on its thread for life.  What belongs to a flow of control travels with the switch: registers, errno,
// the C++ exceptions being handled and being thrown, and the sanitizers' idea of the stack.  Boost 1.88 and later keep
// the exception state inside boost::context::fiber; the raw context used here never does, so it is kept exactly once.
#pragma once
#include <span>
#include <string_view>

#include "fiber/sanitizer.hpp"
#include "fiber/stack.hpp"

namespace tulp {

class Fiber;

/// What a report says about whoever uses a fiber.
struct FiberLabel {
  std::string_view name;
  const void* created_at;  // a return address
};

/// What all fibers of one pool do.
struct FiberProgram {
  void (*entry)(Fiber&) noexcept;  // never returns
  /// Describes the user; a name that is not stored anywhere is written into `buffer`.  Called from a signal handler: does
  /// not allocate.
  FiberLabel (*label)(const void* user, std::span<char> buffer) noexcept;
};

class Fiber {
 public:
  /// The flow that the thread itself runs.
  constexpr Fiber() = default;
  /// A flow that begins in program.entry when it is first switched to.
  Fiber(const Stack& stack, const FiberProgram& program) noexcept;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  /// Before the stack is given back.
  void close() noexcept { sanitizer_.close(); }

  /// Leaves this flow, which is the running one, for `next`; returns when somebody switches back to it.
  void switch_to(Fiber& next) noexcept;

  /// Of a flow that is not running: the return addresses from where it stands outwards; how many there are.  None where
  /// too little of the stack is left to look from.  Does not allocate.
  std::size_t capture(std::span<const void*> frames) noexcept;

  const Stack& stack() const noexcept { return stack_; }

  FiberLabel label(std::span<char> buffer) const noexcept {
    return user != nullptr ? program_->label(user, buffer) : FiberLabel{"(none)", nullptr};
  }

  const void* user = nullptr;  // set by whoever runs on it

 private:
  struct Look;
  friend void enter_fiber(void*, void*) noexcept;
  static void* look_around(Look& look) noexcept;

  void arrive(void* came_from_context, Fiber& came_from) noexcept;

  void* context_ = nullptr;                // where the flow stands while it is not running
  const FiberProgram* program_ = nullptr;  // null: the thread's own flow
  Stack stack_;
  [[no_unique_address]] SanitizerState sanitizer_;
};

/// Whether an exception is being thrown in the flow that runs: std::uncaught_exceptions() != 0, but faster.
bool is_unwinding() noexcept;

/// The fiber that runs on this thread; null before the first switch.
Fiber* current_fiber() noexcept;

}  // namespace tulp
