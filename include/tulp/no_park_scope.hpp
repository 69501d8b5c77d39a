// no_park_scope: nothing else runs in between.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_control.hpp>

namespace tulp {

/// While it lives, what may park must not be called in the task that it is made in: it throws InvalidStateError, even if it
/// would not have had to park.  For code that relies on nobody else running in between.  Outside a task it does nothing,
/// for nothing may park there anyway.
class no_park_scope {
 public:
  no_park_scope() noexcept;
  no_park_scope(const no_park_scope&) = delete;
  no_park_scope& operator=(const no_park_scope&) = delete;
  ~no_park_scope();

 private:
  detail::TaskControl* task_;
};

}  // namespace tulp
