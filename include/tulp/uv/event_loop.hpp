// Event loops that run in libuv's, beside whatever else does.  Floor 8, hosts.
//
// Part of the library tulp-uv.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>

struct uv_loop_s;

namespace tulp::uv {

/// Makes a loop that runs in `host`, which outlives it; null: in a libuv loop of its own, whose handles the program closes
/// before the loop ends.
///
/// run_forever() and its kin run both loops.  uv_run() does so too, and returns when neither has anything left to do;
/// uv_stop() ends it, and nothing else.  As uv_run() is, the loop is not to be run or closed inside a callback of libuv's.
/// Times are exact to libuv's millisecond, and never early.  After the loop has closed libuv needs one more uv_run() to let
/// go of its handles, before uv_loop_close().
/// Throws: OsError - a descriptor or memory is missing; std::invalid_argument - the options ask for poll or select.
std::unique_ptr<EventLoop> new_event_loop(uv_loop_s* host = nullptr, LoopOptions options = {});

/// The libuv loop that `loop` runs in: get_event_loop() for the running one.
/// Throws: InvalidStateError - it runs in none.
uv_loop_s* host_of(EventLoop& loop);

/// Every loop that it makes has a libuv loop of its own.
class EventLoopPolicy : public tulp::EventLoopPolicy {
 public:
  std::unique_ptr<EventLoop> new_event_loop(const LoopOptions& options) override;
};

}  // namespace tulp::uv
