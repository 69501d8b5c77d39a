// delay: a time to wait for, as a Future.  Floor 5, tasks.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/future.hpp>

namespace tulp {

/// A future that is done when `limit` has passed, never earlier: what sleep() is to a fiber, for whoever cannot park, and
/// for gather(), wait() and select().  Cancelling it stops its timer.
/// Throws: InvalidStateError - there is no loop, or it is closed.
Future<> delay(Duration limit);

}  // namespace tulp
