// Where a coroutine's promise finds the memory before its frame.
//
// The compiler calls the promise's operator new, copies the parameters, and makes the promise, to which it says nothing of
// the address.  So operator new leaves the block in a list of the thread, where the promise looks for the one that it lies
// in.  More than one is there only if the copy of a parameter calls another coroutine.
#include <tulp/detail/coroutine_state.hpp>

#include <functional>
#include <utility>

namespace tulp::detail {
namespace {

/// At the beginning of a block until the state is made there.
struct FreshBlock {
  FreshBlock* outer;
  std::size_t size_bytes;
};
constinit thread_local FreshBlock* newest = nullptr;

constexpr std::size_t alignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

void* allocate_frame(std::size_t frame_bytes, std::size_t state_bytes) {
  const std::size_t frame_at = (state_bytes + alignment - 1) / alignment * alignment;
  void* const memory = ::operator new(frame_at + frame_bytes);
  newest = new (memory) FreshBlock{newest, frame_at + frame_bytes};
  return static_cast<std::byte*>(memory) + frame_at;
}

void* take_state_memory(const void* in_frame) noexcept {
  if (newest == nullptr) return nullptr;
  const void* const end = reinterpret_cast<const std::byte*>(newest) + newest->size_bytes;
  const std::less<const void*> is_before;  // a total order, also of unrelated objects
  if (!is_before(newest, in_frame) || !is_before(in_frame, end)) return nullptr;
  return std::exchange(newest, newest->outer);
}

/// A state has been made in the block, and frees it, unless the copy of a parameter has failed.
void free_frame(void* frame) noexcept { ::operator delete(take_state_memory(frame)); }

}  // namespace tulp::detail
