// Who asks whether a clause takes an exception is its typeinfo: so ThrowWatch has one of our own.  This is libstdc++'s
// way; where the runtime is another one, ThrowWatch is never asked, and no stack is known.
#include <typeinfo>

#include "base/throw_watch.hpp"

#ifdef __GLIBCXX__

namespace tulp::detail {

/// In the search phase of a throw, on top of its stack.
class ThrowWatchType final : public std::type_info {
 public:
  bool __do_catch(const std::type_info* thrown, void** object, unsigned outer) const override;
};

bool ThrowWatchType::__do_catch(const std::type_info*, void** object, unsigned) const {
  remember_throw(*object);
  return false;
}

}  // namespace tulp::detail

#else

#include <tulp/throw_trace.hpp>

void tulp::detail::ThrowWatch::key() {}  // here the compiler emits an ordinary typeinfo

#endif
