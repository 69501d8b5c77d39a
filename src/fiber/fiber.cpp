#include "fiber/fiber.hpp"

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>
#include <cerrno>

#include "fiber/overflow.hpp"

namespace tulp {

namespace context = boost::context::detail;

namespace {

/// What __cxa_get_globals() points at, by the Itanium C++ ABI: the exceptions being handled, and how many are being
/// thrown.
struct ExceptionGlobals {
  void* caught = nullptr;
  unsigned uncaught_count = 0;
};

[[gnu::tls_model("initial-exec")]] constinit thread_local Fiber* running = nullptr;
[[gnu::tls_model("initial-exec")]] constinit thread_local ExceptionGlobals* globals_of_thread = nullptr;

/// A thread's never move, so that asking once is enough.
ExceptionGlobals& exception_globals() noexcept {
  if (globals_of_thread == nullptr) globals_of_thread = reinterpret_cast<ExceptionGlobals*>(abi::__cxa_get_globals());
  return *globals_of_thread;
}

/// What belongs to a flow, and the runtime keeps for the thread.
struct FlowState {
  ExceptionGlobals exceptions;
  int error_number;
};

// Never inlined: between two runs a loop may move to another thread, and its fibers with it, so that an address of
// thread-local storage must not be kept across a jump.
[[gnu::noinline]] FlowState save_flow() noexcept { return {exception_globals(), errno}; }
[[gnu::noinline]] void restore_flow(const FlowState& flow) noexcept {
  exception_globals() = flow.exceptions;
  errno = flow.error_number;
}

}  // namespace

bool is_unwinding() noexcept { return exception_globals().uncaught_count != 0; }

Fiber* current_fiber() noexcept { return running; }

/// The first frame of every fiber.
void enter_fiber(void* came_from_context, void* came_from) noexcept {
  exception_globals() = {};
  Fiber& self = *running;
  self.arrive(came_from_context, *static_cast<Fiber*>(came_from));
  self.program_->entry(self);
  __builtin_unreachable();
}

namespace {

/// What make_fcontext starts.  Marks its return address as undefined, so that debuggers, backtrace() and the exception
/// unwinder know that a stack ends here.
[[noreturn]] void first_frame(context::transfer_t from) {
#if defined(__x86_64__)
  asm volatile(".cfi_undefined rip");
#elif defined(__aarch64__)
  asm volatile(".cfi_undefined x30");
#endif
  enter_fiber(from.fctx, from.data);
  __builtin_unreachable();
}

}  // namespace

Fiber::Fiber(const Stack& stack, const FiberProgram& program) noexcept
    : context_(context::make_fcontext(stack.top(), stack.size_bytes, first_frame)), program_(&program), stack_(stack) {
  sanitizer_.open(stack.low, stack.size_bytes);
  watch_for_overflow();
}

void Fiber::switch_to(Fiber& next) noexcept {
  const FlowState flow = save_flow();  // stays on this flow's stack while others run
  running = &next;
  sanitizer_.before_jump(next.sanitizer_);
  const auto from = context::jump_fcontext(next.context_, this);
  arrive(from.fctx, *static_cast<Fiber*>(from.data));
  restore_flow(flow);
}

inline void Fiber::arrive(void* came_from_context, Fiber& came_from) noexcept {
  came_from.context_ = came_from_context;
  sanitizer_.after_jump(came_from.sanitizer_);
}

}  // namespace tulp
