// Connecting by an io_uring: it is asked for with the loop's next wait, and its completion is the outcome.
#include <utility>

#include "net/connecting.hpp"
#include "selector/ring.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {
namespace {

/// What the ring refers to: it stays until the completion.
class ConnectRequest final : public RingClient {
 public:
  ConnectRequest(EventLoop& loop, UniqueFd socket, const Address& address)
      : ring_(*loop.ring()),
        loop_(loop),
        socket_(std::move(socket)),
        watch_(socket_.get(), FdWatch::Mode::once),
        address_(address) {
    ring_.keep_quiet(socket_.get(), true);
    loop_.add_fd(watch_);  // so that it knows whose descriptor this is
    ring_.add(*this);
    ring_.connect(socket_.get(), address_.data(), address_.size(), *this);
  }

  void arm(Runnable* target) noexcept {
    target_ = target;
    if (outcome_) wake();
  }
  std::optional<int> outcome() const noexcept { return outcome_; }
  int fd() const noexcept { return socket_.get(); }
  std::unique_ptr<ByteStream> take_stream() {
    unwatch();
    return make_stream(loop_, std::move(socket_), address_);
  }

  /// Nobody but the ring refers to it any more.
  void give_up() noexcept {
    target_ = nullptr;
    if (loop_.belongs_to_parent()) {  // and so does the ring
      socket_.reset();
      return;
    }
    if (!outcome_) {
      ring_.cancel(*this);
      ring_.submit();
    }
    if (socket_) unwatch();
    socket_.reset();
    is_given_up_ = true;
    delete_if_done();
  }

 private:
  void on_completion(int result, unsigned) noexcept override {
    outcome_ = -result;
    wake();
    delete_if_done();
  }
  void leave_ring() noexcept override {
    outcome_ = ECANCELED;
    delete_if_done();
  }
  void unwatch() noexcept {
    loop_.remove_fd(watch_);
    ring_.keep_quiet(socket_.get(), false);
  }
  void wake() noexcept {
    Runnable* const target = std::exchange(target_, nullptr);
    if (target != nullptr && !target->is_queued()) loop_.post(*target);
  }
  void delete_if_done() noexcept {
    if (!is_given_up_ || !outcome_) return;
    unlink();
    delete this;
  }

  Ring& ring_;
  EventLoop& loop_;
  UniqueFd socket_;
  FdWatch watch_;
  const Address address_;
  std::optional<int> outcome_;
  Runnable* target_ = nullptr;
  bool is_given_up_ = false;
};

class RingConnecting final : public Connecting {
 public:
  RingConnecting(EventLoop& loop, UniqueFd socket, const Address& address)
      : request_(new ConnectRequest(loop, std::move(socket), address)) {}
  RingConnecting(const RingConnecting&) = delete;
  RingConnecting& operator=(const RingConnecting&) = delete;
  ~RingConnecting() override { request_->give_up(); }

  void arm(Runnable& target) override { request_->arm(&target); }
  void disarm() noexcept override { request_->arm(nullptr); }
  std::optional<int> outcome() noexcept override { return request_->outcome(); }
  int fd() const noexcept override { return request_->fd(); }
  std::unique_ptr<ByteStream> take_stream() override { return request_->take_stream(); }

 private:
  ConnectRequest* request_;  // goes when the ring has done with it
};

}  // namespace

std::unique_ptr<Connecting> make_ring_connecting(EventLoop& loop, UniqueFd socket, const Address& address) {
  return std::make_unique<RingConnecting>(loop, std::move(socket), address);
}

}  // namespace tulp::detail
