// MemberEvent: an entry of the ready queue that calls a member of its owner.  Floor 6, transports.
#pragma once
#include <tulp/loop_core.hpp>

namespace tulp::detail {

template <class Owner>
class MemberEvent final : public Runnable {
 public:
  /// What a loop that closes does with it.
  enum class AtClose : std::uint8_t { drop, call };

  MemberEvent(Owner& owner, void (Owner::*member)(), AtClose at_close = AtClose::drop) noexcept
      : owner_(owner), member_(member), at_close_(at_close) {}
  void run() noexcept override { (owner_.*member_)(); }
  void discard() noexcept override {
    if (at_close_ == AtClose::call) run();
  }

 private:
  Owner& owner_;
  void (Owner::*member_)();
  AtClose at_close_;
};

}  // namespace tulp::detail
