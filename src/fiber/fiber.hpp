// Fiber: a flow of control with a stack of its own, and the switch from one to another.  Floor 2, fiber.
//
// A fiber stays on its thread for life.  What belongs to a flow of control travels with the switch: registers, errno,
// the C++ exceptions being handled and being thrown, and the sanitizers' idea of the stack.  Boost 1.88 and later keep
// the exception state inside boost::context::fiber; the raw context used here never does, so it is kept exactly once.
#pragma once
#include <span>
#include <string_view>

#include "fiber/jump.hpp"
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

/// What __cxa_get_globals() points at, by the Itanium C++ ABI: the exceptions being handled, and how many are being
/// thrown.
struct ExceptionGlobals {
  void* caught;
  unsigned uncaught_count;
};

/// A thread, and where it keeps what belongs to the flow that runs on it.
struct FlowThread {
  Fiber* running = nullptr;  // null before the first switch
  ExceptionGlobals* exceptions = nullptr;
  int* error_number = nullptr;

  /// The one that runs this, ready for a switch.
  static FlowThread& here() noexcept;
  /// Whether an exception is being thrown in the flow that runs: std::uncaught_exceptions() != 0, but faster.
  bool is_unwinding() const noexcept { return exceptions->uncaught_count != 0; }

 private:
  void begin() noexcept;
};

/// Between two runs a loop may move to another thread, and its fibers with it: so a function that has jumped must not look
/// here again, nor be inlined into one that does.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local FlowThread flow_thread;

inline FlowThread& FlowThread::here() noexcept {
  if (flow_thread.exceptions == nullptr) [[unlikely]]
    flow_thread.begin();
  return flow_thread;
}

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
  /// `here` is the thread that runs this.
  [[gnu::always_inline]] void switch_to(Fiber& next, FlowThread& here) noexcept {
    const ExceptionGlobals exceptions = *here.exceptions;  // stay on this flow's stack while others run
    const int error_number = *here.error_number;
    thread_ = &here;
    here.running = &next;
    sanitizer_.before_jump(next.sanitizer_);
    const detail::Jumped from = detail::jump(next.context_, this);
    const FlowThread& now = arrive(from.fctx, *static_cast<Fiber*>(from.data));
    *now.exceptions = exceptions;
    *now.error_number = error_number;
  }

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

  /// Returns the thread on which this is.
  FlowThread& arrive(void* came_from_context, Fiber& came_from) noexcept {
    came_from.context_ = came_from_context;
    sanitizer_.after_jump(came_from.sanitizer_);
    return *came_from.thread_;
  }

  void* context_ = nullptr;                // where the flow stands while it is not running
  FlowThread* thread_ = nullptr;           // that it ran on when it left
  const FiberProgram* program_ = nullptr;  // null: the thread's own flow
  Stack stack_;
  [[no_unique_address]] SanitizerState sanitizer_;
};

}  // namespace tulp
