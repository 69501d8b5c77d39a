#include <tulp/uv/event_loop.hpp>

#include <uv.h>

#include <cstdint>
#include <utility>

#include "hosts/driver.hpp"
#include "support/catch.hpp"

namespace tulp::test {
namespace {

template <class H, class Function>
struct Handle {
  H handle;
  Function function;

  template <class T>
  static Handle& of(T* handle) {
    return *static_cast<Handle*>(handle->data);
  }
  void close() {
    ::uv_close(reinterpret_cast<uv_handle_t*>(&handle), [](uv_handle_t* closed) { delete &of(closed); });
  }
};

class UvDriver final : public Driver {
 public:
  UvDriver() { REQUIRE(::uv_loop_init(&loop_) == 0); }
  ~UvDriver() override {
    ::uv_run(&loop_, UV_RUN_NOWAIT);
    CHECK(::uv_loop_close(&loop_) == 0);
  }

  std::unique_ptr<EventLoop> new_event_loop(LoopOptions options) override {
    return uv::new_event_loop(&loop_, options);
  }
  bool is_host_of(EventLoop& loop) override { return uv::host_of(loop) == &loop_; }
  void run() override { ::uv_run(&loop_, UV_RUN_DEFAULT); }
  void stop() override { ::uv_stop(&loop_); }

  void call_later(std::chrono::milliseconds delay, std::function<void()> function) override {
    using Timer = Handle<uv_timer_t, std::function<void()>>;
    auto* timer = new Timer{{}, std::move(function)};
    ::uv_timer_init(&loop_, &timer->handle);
    timer->handle.data = timer;
    const auto call = [](uv_timer_t* handle) {
      Timer& due = Timer::of(handle);
      due.function();
      due.close();
    };
    ::uv_update_time(&loop_);
    ::uv_timer_start(&timer->handle, call, static_cast<std::uint64_t>(delay.count()), 0);
  }

  void call_again(std::function<bool()> function) override {
    using Idle = Handle<uv_idle_t, std::function<bool()>>;
    auto* idle = new Idle{{}, std::move(function)};
    ::uv_idle_init(&loop_, &idle->handle);
    idle->handle.data = idle;
    ::uv_idle_start(&idle->handle, [](uv_idle_t* handle) {
      if (Idle& ready = Idle::of(handle); !ready.function()) ready.close();
    });
  }

 private:
  uv_loop_t loop_;
};

}  // namespace

std::unique_ptr<Driver> make_uv_driver() { return std::make_unique<UvDriver>(); }

}  // namespace tulp::test
