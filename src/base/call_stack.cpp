#include "base/call_stack.hpp"

#include <unwind.h>

#include <cstdint>

namespace tulp {
namespace {

struct Walk {
  std::span<const void*> frames;
  std::size_t count = 0;
  bool is_first = true;         // our own
  bool is_interrupted = false;  // frames are counted from the one that a signal has interrupted
};

_Unwind_Reason_Code visit(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  if (walk.is_first) {
    walk.is_first = false;
    return _URC_NO_REASON;
  }
  int is_before = 0;  // the address is no return address but that of the next instruction
  const auto address = _Unwind_GetIPInfo(context, &is_before) + (is_before != 0 ? 1 : 0);
  if (walk.is_interrupted && is_before != 0) walk.count = 0;
  if (address == 0 || walk.count == walk.frames.size()) return _URC_END_OF_STACK;
  walk.frames[walk.count++] = reinterpret_cast<const void*>(address);
  return _URC_NO_REASON;
}

}  // namespace

std::size_t capture_call_stack(std::span<const void*> frames) noexcept {
  Walk walk{frames};
  _Unwind_Backtrace(visit, &walk);
  return walk.count;
}

std::size_t capture_interrupted_stack(std::span<const void*> frames) noexcept {
  Walk walk{.frames = frames, .is_interrupted = true};
  _Unwind_Backtrace(visit, &walk);
  return walk.count;
}

const void* enclosing_function(const void* return_address) noexcept {
  return _Unwind_FindEnclosingFunction(const_cast<void*>(return_address));
}

}  // namespace tulp
