// io_uring(7).  What it does better than epoll is to receive and to send; to wait for descriptors it is not.  So those are left
// to an epoll of its own, which the ring watches: a turn of the loop enters the kernel once, and once more only if a
// descriptor that is no stream's has become ready.
#include <poll.h>

#include "selector/ring.hpp"
#include "selector/selector.hpp"

namespace tulp {
namespace {

class RingSelector final : public Selector, private detail::RingOperation {
 public:
  RingSelector() : descriptors_(make_epoll_selector()) {}

  bool has_edges() const noexcept override { return descriptors_->has_edges(); }
  detail::Ring* ring() noexcept override { return &ring_; }
  std::uint64_t ring_progress() const noexcept override { return ring_.progress(); }

  void add(int fd, Interest interest, Trigger trigger, std::uint64_t token) override {
    if (ring_.is_quiet(fd)) return;
    descriptors_->add(fd, interest, trigger, token);
    may_find_some_ = true;
  }
  bool modify(int fd, Interest interest, std::uint64_t token) noexcept override {
    if (ring_.is_quiet(fd)) return true;
    may_find_some_ = true;
    return descriptors_->modify(fd, interest, token);
  }
  void remove(int fd) noexcept override {
    if (!ring_.is_quiet(fd)) descriptors_->remove(fd);
  }
  void forget(int fd) noexcept override {
    if (!ring_.is_quiet(fd)) descriptors_->forget(fd);
  }

  bool start_over() override {
    auto fresh = make_epoll_selector();
    if (is_polled_) ring_.cancel(*this);
    ring_.submit();
    descriptors_ = std::move(fresh);
    may_find_some_ = true;
    return true;
  }

  void push() noexcept override { ring_.push(); }

  std::size_t wait(Duration timeout, std::span<SelectorEvent> events) override {
    if (!is_polled_) {
      ring_.poll(descriptors_->fd(), POLLIN, *this);
      is_polled_ = true;
    }
    std::size_t count = look(events);
    ring_.enter(count > 0 ? Duration::zero() : timeout);
    if (count == 0) count = look(events);
    return count;
  }

 private:
  /// What is level-triggered is found again and again, but told of by the ring once.
  std::size_t look(std::span<SelectorEvent> events) {
    if (!may_find_some_) return 0;
    const std::size_t count = descriptors_->wait(Duration::zero(), events);
    may_find_some_ = count > 0;
    return count;
  }
  void on_completion(int, unsigned flags) noexcept override {
    may_find_some_ = true;
    if ((flags & IORING_CQE_F_MORE) == 0) is_polled_ = false;
  }

  std::unique_ptr<Selector> descriptors_;
  detail::Ring ring_;
  bool is_polled_ = false;
  bool may_find_some_ = true;
};

}  // namespace

std::unique_ptr<Selector> make_ring_selector() { return std::make_unique<RingSelector>(); }

}  // namespace tulp
