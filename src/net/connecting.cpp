#include "net/connecting.hpp"

#include <cerrno>
#include <utility>

#include <tulp/error.hpp>

#include "net/socket.hpp"
#include "transports/socket_stream.hpp"

namespace tulp::detail {
namespace {

/// Is writable as soon as there is an outcome.
class WatchedConnecting final : public Connecting {
 public:
  WatchedConnecting(EventLoop& loop, UniqueFd socket, const Address& address) {
    if (sys.connect(socket.get(), address.data(), address.size()) != 0 && errno != EINPROGRESS && errno != EINTR)
      throw_os_error(errno, "connect " + address.to_string());
    // Watched only now: a socket that has never been connected reports a hang-up.
    stream_ = std::make_unique<SocketStream>(loop, std::move(socket), address);
    stream_->expect_to_be_spoken_to();
  }

  void arm(Runnable& target) override { stream_->arm(Direction::write, target); }
  void disarm() noexcept override { stream_->disarm(Direction::write); }
  /// Asks the kernel, for a report of readiness is a hint.
  std::optional<int> outcome() noexcept override {
    if (peer_address(fd()).family() != AF_UNSPEC) return 0;
    const int error = pending_error(fd());
    return error != 0 ? std::optional(error) : std::nullopt;
  }
  int fd() const noexcept override { return stream_->fd(); }
  std::unique_ptr<ByteStream> take_stream() override { return std::move(stream_); }

 private:
  std::unique_ptr<SocketStream> stream_;
};

}  // namespace

std::unique_ptr<Connecting> make_connecting(EventLoop& loop, UniqueFd socket, const Address& address) {
  if (loop.ring() != nullptr) return make_ring_connecting(loop, std::move(socket), address);
  return std::make_unique<WatchedConnecting>(loop, std::move(socket), address);
}

}  // namespace tulp::detail
