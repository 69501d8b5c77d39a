#include "fiber/fiber.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <array>
#include <boost/context/detail/fcontext.hpp>
#include <cerrno>

#include "base/call_stack.hpp"
#include "fiber/overflow.hpp"

namespace tulp {

namespace context = boost::context::detail;

[[gnu::tls_model("initial-exec")]] constinit thread_local FlowThread flow_thread;

/// A thread's never move, so that asking once is enough.
void FlowThread::begin() noexcept {
  exceptions = reinterpret_cast<ExceptionGlobals*>(abi::__cxa_get_globals());
  error_number = &errno;
}

/// The first frame of every fiber.
void enter_fiber(void* came_from_context, void* came_from) noexcept {
  Fiber& leaving = *static_cast<Fiber*>(came_from);
  Fiber& self = *leaving.thread_->running;
  *self.arrive(came_from_context, leaving).exceptions = {};
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

// Looking at a flow that stands still.
//
// A function can be put on top of a flow that is not running: it runs as if the flow had called it where it stands, so that
// the unwinder walks outwards from there.  It does not return into the flow but leaves it for good, after it has
// overwritten what the flow would have gone on with.  So that is kept, and put back.

namespace {

/// As large as anything that Boost.Context keeps, which lies at the low end of a stack in use; what comes after it there
/// does not change meanwhile.
using ContextBytes = std::array<char, 512>;

/// Sanitizers must not hear of it: these are frames that belong to others.
[[gnu::noinline, gnu::no_sanitize_address]] void copy_bytes(const volatile char* from, volatile char* to,
                                                            std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
}

}  // namespace

struct Fiber::Look {
  Fiber& from;
  Fiber& at;
  std::span<const void*> frames;
  void* way_back = nullptr;
  std::size_t count = 0;
};

/// On top of `look.at`.  Returns where to go back to.
void* Fiber::look_around(Look& look) noexcept {
  look.at.sanitizer_.after_jump(look.from.sanitizer_);
  look.count = capture_call_stack(look.frames);
  look.at.sanitizer_.before_jump(look.from.sanitizer_);
  return look.way_back;
}

std::size_t Fiber::capture(std::span<const void*> frames) noexcept {
  constexpr std::size_t needed_bytes = 8 * 1024 * stack_size_factor;
  char* const top_of_flow = static_cast<char*>(context_);
  if (top_of_flow == nullptr || stack_.low == nullptr || top_of_flow < stack_.low + needed_bytes) return 0;
  ContextBytes kept;
  const auto kept_count = std::min(kept.size(), static_cast<std::size_t>(stack_.top() - top_of_flow));
  copy_bytes(top_of_flow, kept.data(), kept_count);

  Fiber threads_own;
  FlowThread& here = flow_thread;  // nobody else runs meanwhile
  Fiber* const present = here.running;
  Look look{present != nullptr ? *present : threads_own, *this, frames};
  const int error_number = errno;
  here.running = this;
  look.from.sanitizer_.before_jump(sanitizer_);
  context::ontop_fcontext(context_, &look, [](context::transfer_t from) {
    Look& present_look = *static_cast<Look*>(from.data);
    present_look.way_back = from.fctx;
    return context::jump_fcontext(look_around(present_look), nullptr);
  });
  look.from.sanitizer_.after_jump(sanitizer_);
  here.running = present;
  errno = error_number;

  unpoison(top_of_flow - needed_bytes, needed_bytes);  // left by functions that have not returned
  copy_bytes(kept.data(), top_of_flow, kept_count);
  return look.count;
}

}  // namespace tulp
