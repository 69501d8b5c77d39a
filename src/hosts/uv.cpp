// libuv as a host.  One poll handle may watch a descriptor, and a handle's memory is libuv's until its close callback.
#include <tulp/error.hpp>
#include <tulp/loop_host.hpp>
#include <tulp/uv/event_loop.hpp>

#include <uv.h>

#include <cstdint>
#include <utility>

#include "hosts/host.hpp"

namespace tulp::uv {
namespace {

template <class H>
uv_handle_t* base_of(H* handle) noexcept {
  return reinterpret_cast<uv_handle_t*>(handle);
}

struct Close {
  template <class H>
  void operator()(H* handle) const noexcept {
    ::uv_close(base_of(handle), [](uv_handle_t* closed) { delete reinterpret_cast<H*>(closed); });
  }
};
template <class H>
using Handle = std::unique_ptr<H, Close>;

template <class H, class... Args>
Handle<H> make_handle(int (*init)(uv_loop_t*, H*, Args...), uv_loop_t* loop, const char* what, void* owner,
                      Args... args) {
  auto handle = std::make_unique<H>();
  if (const int error = init(loop, handle.get(), args...); error != 0) throw_os_error(-error, what);
  handle->data = owner;
  ::uv_unref(base_of(handle.get()));
  return Handle<H>(handle.release());
}

/// A libuv loop that nobody else owns.
class OwnLoop {
 public:
  OwnLoop() {
    if (const int error = ::uv_loop_init(loop_.get()); error != 0) throw_os_error(-error, "uv_loop_init");
  }
  OwnLoop(const OwnLoop&) = delete;
  OwnLoop& operator=(const OwnLoop&) = delete;
  ~OwnLoop() {
    ::uv_run(loop_.get(), UV_RUN_NOWAIT);                                       // for handles that are closing
    if (::uv_loop_close(loop_.get()) != 0) static_cast<void>(loop_.release());  // the program has left handles in it
  }
  uv_loop_t* get() const noexcept { return loop_.get(); }

 private:
  std::unique_ptr<uv_loop_t> loop_ = std::make_unique<uv_loop_t>();
};

class Host final : public LoopHost {
 public:
  explicit Host(uv_loop_t* loop) : own_(loop == nullptr ? std::make_unique<OwnLoop>() : nullptr) {
    loop_ = own_ != nullptr ? own_->get() : loop;
    timer_ = make_handle(::uv_timer_init, loop_, "uv_timer_init", this);
    idle_ = make_handle(::uv_idle_init, loop_, "uv_idle_init", this);
    prepare_ = make_handle(::uv_prepare_init, loop_, "uv_prepare_init", this);
    // Callbacks of the host's, of timers among them, may have asked for something that cannot wait.
    ::uv_prepare_start(prepare_.get(), [](uv_prepare_t* handle) { owner_of(handle).plan_anew(); });
  }

  uv_loop_t* loop() const noexcept { return loop_; }

  void watch(int fd) override {
    if (fd < 0) return let_go();
    auto poll = make_handle(::uv_poll_init, loop_, "uv_poll_init", this, fd);
    const int error =
        ::uv_poll_start(poll.get(), UV_READABLE, [](uv_poll_t* handle, int, int) { owner_of(handle).turn(); });
    if (error != 0) throw_os_error(-error, "uv_poll_start");
    poll_ = std::move(poll);
  }

  void plan(Plan plan) noexcept override {
    if (poll_ == nullptr) return;
    if (plan.has_more_to_do)
      ::uv_ref(base_of(poll_.get()));
    else
      ::uv_unref(base_of(poll_.get()));
    if (plan.delay <= Duration::zero()) {
      ::uv_idle_start(idle_.get(), [](uv_idle_t* handle) { owner_of(handle).turn(); });
      return;
    }
    ::uv_idle_stop(idle_.get());
    if (plan.delay.is_never())
      ::uv_timer_stop(timer_.get());
    else
      start_timer(plan.delay);
  }

  void iterate(RunMode mode) override { ::uv_run(loop_, mode == RunMode::wait ? UV_RUN_ONCE : UV_RUN_NOWAIT); }

 private:
  template <class H>
  static Host& owner_of(H* handle) noexcept {
    return *static_cast<Host*>(handle->data);
  }

  void start_timer(Duration delay) noexcept {
    const auto milliseconds = static_cast<std::uint64_t>(hosts::to_milliseconds(delay).count());
    ::uv_update_time(loop_);  // it counts from the beginning of its iteration, which may be long ago
    const std::uint64_t due = ::uv_now(loop_) + milliseconds;
    if (::uv_is_active(base_of(timer_.get())) != 0 && due == due_) return;
    due_ = due;
    ::uv_timer_start(
        timer_.get(), [](uv_timer_t* handle) { owner_of(handle).turn(); }, milliseconds, 0);
  }

  void let_go() noexcept {
    poll_.reset();
    timer_.reset();
    idle_.reset();
    prepare_.reset();
  }

  std::unique_ptr<OwnLoop> own_;
  uv_loop_t* loop_;
  Handle<uv_poll_t> poll_;
  Handle<uv_timer_t> timer_;
  Handle<uv_idle_t> idle_;  // keeps libuv from waiting, and is called in each of its iterations
  Handle<uv_prepare_t> prepare_;
  std::uint64_t due_ = 0;  // when the timer is, in libuv's time
};

}  // namespace

std::unique_ptr<EventLoop> new_event_loop(uv_loop_s* host, LoopOptions options) {
  return new_event_loop_in(std::make_unique<Host>(host), options);
}

uv_loop_s* host_of(EventLoop& loop) { return hosts::expect_host<Host>(loop, "libuv").loop(); }

std::unique_ptr<EventLoop> EventLoopPolicy::new_event_loop(const LoopOptions& options) {
  return uv::new_event_loop(nullptr, options);
}

}  // namespace tulp::uv
