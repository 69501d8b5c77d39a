// A host as its own users see it: what the tests ask of libuv, Boost.Asio and GLib alike.
#pragma once
#include <tulp/event_loop.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tulp::test {

class Driver {
 public:
  virtual ~Driver() = default;
  /// A loop of tulp's in this host.
  virtual std::unique_ptr<EventLoop> new_event_loop(LoopOptions options = {}) = 0;
  /// Whether that is where `loop` runs.
  virtual bool is_host_of(EventLoop& loop) = 0;
  /// Until stop(), or until the host has nothing left to do, if it is of that kind.
  virtual void run() = 0;
  virtual void stop() = 0;
  virtual bool ends_by_itself() const { return true; }
  /// By a timer of the host's.
  virtual void call_later(std::chrono::milliseconds delay, std::function<void()> function) = 0;
  /// As often as the host comes to it, until `function` says false.
  virtual void call_again(std::function<bool()> function) = 0;
};

/// Those that are built: uv, asio, glib.
std::vector<std::string> driver_names();
std::unique_ptr<Driver> make_driver(const std::string& name);

// Each where that host is built.
std::unique_ptr<Driver> make_uv_driver();
std::unique_ptr<Driver> make_asio_driver();
std::unique_ptr<Driver> make_glib_driver();

}  // namespace tulp::test
