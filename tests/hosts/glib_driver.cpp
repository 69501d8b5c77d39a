#include <tulp/glib/event_loop.hpp>

#include <glib.h>

#include <utility>

#include "hosts/driver.hpp"

namespace tulp::test {
namespace {

class GlibDriver final : public Driver {
 public:
  GlibDriver() : context_(::g_main_context_new()), loop_(::g_main_loop_new(context_, FALSE)) {}
  ~GlibDriver() override {
    ::g_main_loop_unref(loop_);
    ::g_main_context_unref(context_);
  }

  std::unique_ptr<EventLoop> new_event_loop(LoopOptions options) override {
    return glib::new_event_loop(context_, options);
  }
  bool is_host_of(EventLoop& loop) override { return glib::host_of(loop) == context_; }
  void run() override { ::g_main_loop_run(loop_); }
  void stop() override { ::g_main_loop_quit(loop_); }
  bool ends_by_itself() const override { return false; }

  void call_later(std::chrono::milliseconds delay, std::function<void()> function) override {
    attach(::g_timeout_source_new(static_cast<guint>(delay.count())), [function = std::move(function)] {
      function();
      return false;
    });
  }
  /// An idle source, whose priority is lower than tulp's.
  void call_again(std::function<bool()> function) override { attach(::g_idle_source_new(), std::move(function)); }

 private:
  using Function = std::function<bool()>;
  void attach(GSource* source, Function function) {
    ::g_source_set_callback(
        source, [](gpointer f) -> gboolean { return (*static_cast<Function*>(f))() ? TRUE : FALSE; },
        new Function(std::move(function)), [](gpointer f) { delete static_cast<Function*>(f); });
    ::g_source_attach(source, context_);
    ::g_source_unref(source);
  }

  GMainContext* context_;
  GMainLoop* loop_;
};

}  // namespace

std::unique_ptr<Driver> make_glib_driver() { return std::make_unique<GlibDriver>(); }

}  // namespace tulp::test
