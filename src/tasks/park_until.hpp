// park_until: parks with a limit.  Floor 5, tasks.
#pragma once
#include <tulp/detail/task_control.hpp>
#include <tulp/duration.hpp>

namespace tulp::detail {

/// As park(), but not beyond `deadline`.  False if that has passed; the task may have been woken all the same.
bool park_with_timer(Park& wait, TaskControl& me, TimePoint deadline);

/// The same, of which there may be none: TimePoint::max().
inline bool park_until(Park& wait, TaskControl& me, TimePoint deadline) {
  if (deadline != TimePoint::max()) return park_with_timer(wait, me, deadline);
  park(wait);
  return true;
}

}  // namespace tulp::detail
