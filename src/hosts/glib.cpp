// GLib as a host.  A source of GLib's is asked before each wait how long that may take, so nothing has to be planned.
#include <tulp/error.hpp>
#include <tulp/glib/event_loop.hpp>
#include <tulp/loop_host.hpp>

#include <glib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "hosts/host.hpp"

namespace tulp::glib {
namespace {

/// GLib looks at sources of a lower priority only when those of a higher one have nothing to do.  So that tulp, when it is
/// busy, does not keep an application from drawing its window, it stands back after so many turns, once.
constexpr int turns_in_a_row = 8;

class Host final : public LoopHost {
 public:
  explicit Host(GMainContext* context)
      : context_(context != nullptr ? ::g_main_context_ref(context) : ::g_main_context_new()),
        source_(::g_source_new(&functions, sizeof(Source))) {
    reinterpret_cast<Source*>(source_)->host = this;
    ::g_source_set_name(source_, "tulp");
    ::g_source_attach(source_, context_);
  }
  ~Host() override {
    ::g_source_destroy(source_);
    ::g_source_unref(source_);
    ::g_main_context_unref(context_);
  }

  GMainContext* context() const noexcept { return context_; }

  void watch(int fd) override {
    if (watched_.fd >= 0) ::g_source_remove_poll(source_, &watched_);
    watched_ = {.fd = fd, .events = G_IO_IN, .revents = 0};
    if (fd >= 0) ::g_source_add_poll(source_, &watched_);
  }
  void plan(Plan) noexcept override {}
  void iterate(RunMode mode) override { ::g_main_context_iteration(context_, mode == RunMode::wait ? TRUE : FALSE); }

  void enter() override { ::g_main_context_push_thread_default(context_); }
  void leave() noexcept override { ::g_main_context_pop_thread_default(context_); }

 private:
  struct Source {
    GSource base;
    Host* host;
  };
  static Host& host_of(GSource* source) noexcept { return *reinterpret_cast<Source*>(source)->host; }

  static gboolean prepare(GSource* source, gint* timeout_milliseconds) {
    Host& host = host_of(source);
    const Duration timeout = host.stands_back_ ? Duration::zero() : host.next_timeout();
    const auto milliseconds = hosts::to_milliseconds(timeout).count();
    constexpr auto most = std::numeric_limits<gint>::max();
    *timeout_milliseconds = timeout.is_never() ? -1 : static_cast<gint>(std::min<std::int64_t>(milliseconds, most));
    return !host.stands_back_ && host.is_due(timeout) ? TRUE : FALSE;
  }
  static gboolean check(GSource* source) {
    Host& host = host_of(source);
    if (std::exchange(host.stands_back_, false)) return FALSE;
    return host.is_due(host.watched_.revents != 0 ? Duration::zero() : host.next_timeout()) ? TRUE : FALSE;
  }
  static gboolean dispatch(GSource* source, GSourceFunc, gpointer) {
    Host& host = host_of(source);
    host.stands_back_ = ++host.turn_count_ % turns_in_a_row == 0;
    host.turn();
    return G_SOURCE_CONTINUE;
  }

  /// The loop that drives GLib looks by itself: a source that is not ready keeps no other one from its turn.
  bool is_due(Duration timeout) const noexcept { return timeout <= Duration::zero() && !is_driven(); }

  GMainContext* const context_;
  GSource* const source_;
  unsigned turn_count_ = 0;
  bool stands_back_ = false;
  GPollFD watched_{.fd = -1, .events = 0, .revents = 0};
  static GSourceFuncs functions;
};

GSourceFuncs Host::functions = {prepare, check, dispatch, nullptr, nullptr, nullptr};

}  // namespace

std::unique_ptr<EventLoop> new_event_loop(GMainContext* host, LoopOptions options) {
  return new_event_loop_in(std::make_unique<Host>(host), options);
}

GMainContext* host_of(EventLoop& loop) { return hosts::expect_host<Host>(loop, "GLib").context(); }

std::unique_ptr<EventLoop> EventLoopPolicy::new_event_loop(const LoopOptions& options) {
  return glib::new_event_loop(nullptr, options);
}

}  // namespace tulp::glib
