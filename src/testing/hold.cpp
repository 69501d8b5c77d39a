#include <tulp/detail/loop_link.hpp>
#include <tulp/testing/hold.hpp>

#include <memory>

namespace tulp::testing {

/// What is posted when the Hold is dropped.
class Hold::Release final : public Runnable {
 public:
  explicit Release(EventLoop& loop) : loop_(loop), link_(loop.link()) { loop_.expect_post(); }

  void post() noexcept {
    if (!link_->post(*this)) delete this;
  }
  void run() noexcept override {
    loop_.end_expected_post();
    delete this;
  }
  void discard() noexcept override { delete this; }

 private:
  EventLoop& loop_;
  const std::shared_ptr<tulp::detail::LoopLink> link_;
};

Hold::Hold(EventLoop& loop) : release_(new Release(loop)) {}

Hold::~Hold() {
  if (release_ != nullptr) release_->post();
}

}  // namespace tulp::testing
