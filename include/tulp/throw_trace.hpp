// ThrowTrace: where an exception was thrown, seen while the stack of the throw still stood.  Floor 1, base.
#pragma once
#include <exception>
#include <memory>
#include <vector>

namespace tulp {

/// Return addresses, innermost first.
using CallStack = std::vector<const void*>;

/// Source: tulp only.  Thread: never changed once it is made.
struct ThrowTrace {
  CallStack thrown_at;  ///< Empty if the exception was never thrown: what set_exception() makes of a value.
  std::vector<CallStack> awaited_at;  ///< The awaits that threw it on, the first one first; long chains are cut.
};

namespace detail {

/// What `catch (const ThrowWatch&)` never catches.  The runtime asks that clause, as it looks for a handler, whether it
/// takes an exception; the answer is no, but by then the stack of the throw has been remembered.  Stands before
/// `catch (...)`, and behind the clauses of exceptions that nobody will want to trace.
///
/// Its typeinfo is not the compiler's: key() has no definition, so that no file emits one.
class ThrowWatch {
 protected:
  virtual void key();
  ~ThrowWatch() = default;
};

/// What a ThrowWatch clause has remembered of `error`, which has been caught right behind it; null if nothing is known.
/// What lies outside of `outermost` is left out: a return address of the function that has caught it, or null.
std::shared_ptr<const ThrowTrace> take_throw_trace(const std::exception_ptr& error,
                                                   const void* outermost = nullptr) noexcept;
/// `before`, which may be null, of an error that an await at the return address `awaited_at` throws on.
std::shared_ptr<const ThrowTrace> trace_through(std::shared_ptr<const ThrowTrace> before,
                                                const void* awaited_at) noexcept;
/// Throws `error`, of which `trace` is known; may be null.
[[noreturn]] void rethrow(std::exception_ptr error, const std::shared_ptr<const ThrowTrace>& trace);

}  // namespace detail
}  // namespace tulp
