// Event loops that run in Boost.Asio's io_context, beside whatever else does.  Floor 8, hosts.
//
// Part of the library tulp-asio.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>

namespace boost::asio {
class io_context;
}

namespace tulp::asio {

/// Makes a loop that runs in `host`, which outlives it, and which one thread alone runs.
///
/// run_forever() and its kin run both: what a handler throws leaves them, and io_context::stop() does not end them.
/// io_context::run() runs both too, and returns when neither has anything left to do.
/// Throws: OsError - a descriptor is missing; std::invalid_argument - the options ask for poll or select;
/// boost::system::system_error - Asio cannot watch a descriptor.
std::unique_ptr<EventLoop> new_event_loop(boost::asio::io_context& host, LoopOptions options = {});
/// As above, in an io_context of its own.
std::unique_ptr<EventLoop> new_event_loop(LoopOptions options = {});

/// The io_context that `loop` runs in: get_event_loop() for the running one.
/// Throws: InvalidStateError - it runs in none.
boost::asio::io_context& host_of(EventLoop& loop);

/// Every loop that it makes has an io_context of its own.
class EventLoopPolicy : public tulp::EventLoopPolicy {
 public:
  std::unique_ptr<EventLoop> new_event_loop(const LoopOptions& options) override;
};

}  // namespace tulp::asio
