#include "base/throw_watch.hpp"

#include <tulp/throw_trace.hpp>

#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <new>
#include <span>
#include <typeinfo>
#include <utility>

#include "base/call_stack.hpp"

namespace tulp::detail {
namespace {

constexpr std::size_t most_awaits = 8;

/// A throw on its way to the clause behind the one that saw it.
struct Flight {
  const void* object = nullptr;  // null: there is none
  bool is_rethrown = false;
  std::shared_ptr<const ThrowTrace> before;  // what was known when it was rethrown
  std::array<const void*, most_frames> frames;
  std::size_t frame_count = 0;

  std::span<const void* const> stack() const noexcept { return {frames.data(), frame_count}; }
};

/// More than one, because destructors may park on the way, and another task throw meanwhile.
struct Flights {
  std::array<Flight, 4> flights;
  std::size_t next = 0;
  const std::shared_ptr<const ThrowTrace>* rethrown_trace = nullptr;  // of the throw that is about to begin
};

thread_local Flights present;

Flight* find(const void* object) noexcept {
  const auto found = std::find_if(present.flights.begin(), present.flights.end(),
                                  [&](const Flight& flight) { return flight.object == object; });
  return found != present.flights.end() ? &*found : nullptr;
}

#ifdef __GLIBCXX__

/// How the runtime names the object of `error` to a clause: of a thrown pointer it names what that points at.
const void* object_of(const std::exception_ptr& error) noexcept {
  static_assert(sizeof error == sizeof(void*));
  void* object = *reinterpret_cast<void* const*>(&error);
  if (object == nullptr) return nullptr;
  return error.__cxa_exception_type()->__is_pointer_p() ? *static_cast<void**>(object) : object;
}

#else

const void* object_of(const std::exception_ptr&) noexcept { return nullptr; }

#endif

/// The functions by which a throw begins: as the program calls them, and, where a sanitizer has put its own before them,
/// the runtime's, which alone may be on the stack.
class ThrowFunctions {
 public:
  ThrowFunctions() noexcept {
    void* runtime = ::dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (runtime == nullptr) return;  // it is linked statically
    constexpr std::array names = {"__cxa_throw", "__cxa_rethrow",
                                  "_ZSt17rethrow_exceptionNSt15__exception_ptr13exception_ptrE"};
    for (std::size_t i = 0; i < names.size(); ++i) functions_[3 + i] = ::dlsym(runtime, names[i]);
    ::dlclose(runtime);
  }
  bool contains(const void* function) const noexcept {
    return function != nullptr && std::find(functions_.begin(), functions_.end(), function) != functions_.end();
  }

 private:
  std::array<const void*, 6> functions_ = {
      reinterpret_cast<const void*>(&abi::__cxa_throw), reinterpret_cast<const void*>(&abi::__cxa_rethrow),
      reinterpret_cast<const void*>(static_cast<void (*)(std::exception_ptr)>(std::rethrow_exception))};
};

/// Where in a captured stack the frames of the runtime end, and who has thrown begins.  The innermost frames are ours and
/// the unwinder's, then comes one of the functions by which a throw begins, perhaps with a wrapper around it.
std::size_t thrower(std::span<const void* const> frames) noexcept {
  static const ThrowFunctions functions;
  constexpr std::size_t innermost = 10;
  for (std::size_t i = std::min(frames.size(), innermost); i-- > 0;)
    if (functions.contains(enclosing_function(frames[i]))) return i + 1;
  return 0;
}

CallStack without_catcher(std::span<const void* const> stack, const void* outermost) {
  auto end = std::find(stack.begin(), stack.end(), outermost);
  if (end != stack.end() && end != stack.begin()) --end;
  return CallStack(stack.begin(), end);
}

std::shared_ptr<const ThrowTrace> with_await(const std::shared_ptr<const ThrowTrace>& before, CallStack stack) {
  auto trace = before != nullptr ? std::make_shared<ThrowTrace>(*before) : std::make_shared<ThrowTrace>();
  if (trace->awaited_at.size() < most_awaits) trace->awaited_at.push_back(std::move(stack));
  return trace;
}

}  // namespace

void remember_throw(const void* object) noexcept {
  std::array<const void*, most_frames> frames;
  const auto all = std::span<const void* const>(frames).first(capture_call_stack(frames));
  const auto stack = all.subspan(thrower(all));
  const auto* rethrown_trace = std::exchange(present.rethrown_trace, nullptr);
  Flight* flight = find(object);
  // An outer clause is asked in its turn, or the same one again, for there is a search for cleanups too.  A throw by
  // rethrow() has passed the clause there first, so what looks like it is it.
  if (flight != nullptr && rethrown_trace == nullptr && std::ranges::equal(stack, flight->stack())) return;
  if (flight == nullptr) flight = find(nullptr);
  if (flight == nullptr) flight = &present.flights[present.next++ % present.flights.size()];
  flight->object = object;
  flight->is_rethrown = rethrown_trace != nullptr;
  flight->before = rethrown_trace != nullptr ? *rethrown_trace : nullptr;
  std::ranges::copy(stack, flight->frames.begin());
  flight->frame_count = stack.size();
}

std::shared_ptr<const ThrowTrace> take_throw_trace(const std::exception_ptr& error, const void* outermost) noexcept {
  const void* object = object_of(error);
  Flight* flight = object != nullptr ? find(object) : nullptr;
  if (flight == nullptr) return nullptr;
  flight->object = nullptr;
  const auto before = std::exchange(flight->before, nullptr);
  try {
    if (!flight->is_rethrown)
      return std::make_shared<ThrowTrace>(ThrowTrace{without_catcher(flight->stack(), outermost), {}});
    return with_await(before, without_catcher(flight->stack(), outermost));
  } catch (const std::bad_alloc&) {
    return before;
  }
}

std::shared_ptr<const ThrowTrace> trace_through(std::shared_ptr<const ThrowTrace> before,
                                                const void* awaited_at) noexcept {
  try {
    return with_await(before, {awaited_at});
  } catch (const std::bad_alloc&) {
    return before;
  }
}

void rethrow(std::exception_ptr error, const std::shared_ptr<const ThrowTrace>& trace) {
  present.rethrown_trace = &trace;
  try {
    std::rethrow_exception(std::move(error));
  } catch (const ThrowWatch&) {  // never: but it looks, right at the beginning of the throw
  }
  __builtin_unreachable();
}

}  // namespace tulp::detail
