// The jump from one flow to another: Boost.Context's.  Floor 2, fiber.
#pragma once
#include <boost/context/detail/fcontext.hpp>

namespace tulp::detail {

/// What comes back: where the flow stands that was left, and its data.
using Jumped = boost::context::detail::transfer_t;

#if defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__) && !defined(__CET__)

#ifdef __AVX512F__
#define TULP_AVX512_REGISTERS                                                                                   \
  , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
      "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define TULP_AVX512_REGISTERS
#endif

/// jump_fcontext(to, data), entered by a jump with the return address on the stack, as if by a call.  It leaves by a jump and
/// not by a return; so after a call of it the processor, which predicts where returns go by counting calls, would be wrong
/// about every function that returns, up to the next switch.
/// To be inlined into functions that also make calls, since those leave the stack aligned, with nothing below its pointer.
[[gnu::always_inline]] inline Jumped jump(void* to, void* data) noexcept {
  Jumped from;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "jmp jump_fcontext@PLT\n"
      "1:"
      : "=a"(from.fctx), "=d"(from.data), "+D"(to), "+S"(data)
      :
      : "rcx", "r8", "r9", "r10", "r11", "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)",
        "st(7)", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
        "xmm12", "xmm13", "xmm14", "xmm15" TULP_AVX512_REGISTERS);
  return from;
}

#undef TULP_AVX512_REGISTERS

#else

inline Jumped jump(void* to, void* data) noexcept { return boost::context::detail::jump_fcontext(to, data); }

#endif

}  // namespace tulp::detail
