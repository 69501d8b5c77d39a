// shield: to wait for something without cancelling it.  Floor 5, tasks.
#pragma once
#include <tulp/detail/future_watch.hpp>
#include <tulp/future.hpp>

#include <type_traits>
#include <utility>

namespace tulp {

namespace detail {

template <class T>
class ShieldState final : public FutureStateOf<T>, private FutureWatch {
 public:
  using FutureStateOf<T>::FutureStateOf;
  void protect(FutureState& inner) { this->watch(inner, 0); }

  std::string description() const override { return "shield"; }
  bool cancel(CancelReason reason) override {
    this->forget_all();
    return FutureState::cancel(std::move(reason));
  }

 private:
  void on_end(Ref<FutureState> ended, std::size_t) noexcept override {
    auto& inner = static_cast<FutureStateOf<T>&>(*ended);
    if (this->is_done()) return;  // the user has set a result
    if (inner.status() == FutureState::Status::cancelled) return this->finish_cancelled(inner.cancel_reason());
    try {
      if constexpr (std::is_void_v<T>) {
        inner.check_value();
        this->set_value();
      } else {
        this->set_value(inner.get(inner.is_unique()));
      }
    } catch (...) {
      this->fail(std::current_exception(), inner.trace());
    }
  }
};

}  // namespace detail

/// A future that ends as `inner` does, and stands between it and whoever waits: cancelling the shield, or a task that
/// waits for it, leaves `inner` alone.  A failure that comes after that is reported, unless somebody else asks for it.  If
/// `inner` is cancelled, so is the shield.  Of a future that is done, it is that future itself.
///
/// Does not park: await(shield(...)) does.  A task of which nobody else holds a handle runs on all the same.
/// Source: asyncio.shield.
template <class T>
[[gnu::noinline]] Future<T> shield(Future<T> inner) {
  if (inner.done()) return inner;
  using State = detail::ShieldState<T>;
  auto state = detail::Ref<State>::adopt(new State(inner.get_loop(), TULP_CALLER));
  state->protect(*inner.state());
  return Future<T>(detail::Ref<detail::FutureStateOf<T>>(std::move(state)));
}

}  // namespace tulp
