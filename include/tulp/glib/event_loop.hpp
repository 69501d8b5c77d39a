// Event loops that run in GLib's main contexts, beside whatever else does: GTK, for example.  Floor 8, hosts.
//
// Part of the library tulp-glib.
#pragma once
#include <tulp/event_loop.hpp>

#include <memory>

struct _GMainContext;

namespace tulp::glib {

/// Makes a loop that runs in `host`, of which it keeps a reference; null: in a context of its own.
/// g_main_context_default() is the one that GTK runs.
///
/// run_forever() and its kin run both, and make the context the thread's default one meanwhile.  g_main_loop_run() runs both
/// too.  tulp has G_PRIORITY_DEFAULT, but lets lower priorities have their turn.  Times are exact to GLib's millisecond, and
/// never early.
/// Throws: OsError - a descriptor is missing; std::invalid_argument - the options ask for poll or select.
std::unique_ptr<EventLoop> new_event_loop(_GMainContext* host = nullptr, LoopOptions options = {});

/// The context that `loop` runs in: get_event_loop() for the running one.
/// Throws: InvalidStateError - it runs in none.
_GMainContext* host_of(EventLoop& loop);

/// Every loop that it makes has a context of its own.
class EventLoopPolicy : public tulp::EventLoopPolicy {
 public:
  std::unique_ptr<EventLoop> new_event_loop(const LoopOptions& options) override;
};

}  // namespace tulp::glib
